use crate::DataError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::str::FromStr;

/// What something is, by its content: a BLAKE3 hash, written as 64 hexadecimal digits.
///
/// ```
/// use distily_data::ContentHash;
///
/// let hash = ContentHash::of("notes", [b"one".as_slice(), b"two"]);
/// assert_eq!(hash, hash.to_string().parse()?);
/// // Neither another purpose nor another division is the same.
/// assert_ne!(hash, ContentHash::of("tokens", [b"one".as_slice(), b"two"]));
/// assert_ne!(hash, ContentHash::of("notes", [b"onetwo".as_slice()]));
/// # Ok::<(), distily_data::DataError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash(blake3::Hash);

impl ContentHash {
    /// The hash of some parts, each with its length, for one purpose.
    pub fn of(purpose: &str, parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("distily content hash");
        let mut update = |part: &[u8]| {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        update(purpose.as_bytes());
        for part in parts {
            update(part.as_ref());
        }
        Self(hasher.finalize())
    }

    /// The plain BLAKE3 hash of a file's content, as `b3sum` writes it.
    pub fn of_file(content: &[u8]) -> Self {
        Self(blake3::hash(content))
    }

    /// What some files are together, in their order: the weights of a model, say.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`].
    pub fn of_files(files: &[impl AsRef<Path>]) -> Result<Self, DataError> {
        let hash = |file: &Path| Self::of_content(file).map_err(DataError::io(file));
        let hashes = files
            .iter()
            .map(|file| Ok(*hash(file.as_ref())?.as_bytes()));
        let hashes: Vec<[u8; 32]> = hashes.collect::<Result<_, DataError>>()?;
        Ok(Self::of("files", hashes))
    }

    /// The plain BLAKE3 hash of a file that is not in memory.
    pub(crate) fn of_content(file: &Path) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(file)?)?;
        Ok(hasher.finalize().into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl From<blake3::Hash> for ContentHash {
    fn from(hash: blake3::Hash) -> Self {
        Self(hash)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContentHash {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let hash = blake3::Hash::from_hex(text).ok();
        // One way to write each, so that it can be the name of a folder.
        hash.map(Self)
            .filter(|hash| hash.to_string() == text)
            .ok_or_else(|| DataError::Config {
                field: "hash",
                got: format!("{text:?}"),
                expected: "64 hexadecimal digits, in lower case",
            })
    }
}

impl TryFrom<String> for ContentHash {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_way_to_write_a_hash() {
        let text = ContentHash::of("test", [b""]).to_string();
        assert!(text.parse::<ContentHash>().is_ok());
        for wrong in [
            text.to_uppercase(),
            text[1..].to_owned(),
            format!("{text}0"),
        ] {
            let error = wrong.parse::<ContentHash>().unwrap_err().to_string();
            assert!(error.contains(&wrong), "{error}");
        }
    }
}
