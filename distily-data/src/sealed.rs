//! JSON files that carry the hash of their own text, so that no byte of them can be another.

use crate::ContentHash;
use serde::Serialize;
use serde::de::DeserializeOwned;

const START: &str = "{\n\"content\": ";
const BETWEEN: &str = ",\n\"blake3\": \"";
const END: &str = "\"\n}\n";

/// The text of a file: the value under `content`, and the BLAKE3 hash of its text.
pub(crate) fn seal(value: &impl Serialize) -> serde_json::Result<String> {
    let content = serde_json::to_string_pretty(value)?;
    let hash = ContentHash::of_file(content.as_bytes());
    Ok(format!("{START}{content}{BETWEEN}{hash}{END}"))
}

/// The value of a file's text, or what is wrong with the text.
pub(crate) fn unseal<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let parts = std::str::from_utf8(text).ok().and_then(|text| {
        let text = text.strip_prefix(START)?.strip_suffix(END)?;
        text.rsplit_once(BETWEEN)
    });
    let (content, hash) = parts.ok_or("is not as it was written")?;
    if hash != ContentHash::of_file(content.as_bytes()).to_string() {
        return Err("has another hash than was written".to_owned());
    }
    serde_json::from_str(content).map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_other_byte_and_any_other_length_is_found() {
        let value = vec!["a".to_owned(), "\"\n}\n".to_owned()];
        let text = seal(&value).unwrap().into_bytes();
        assert_eq!(unseal::<Vec<String>>(&text).unwrap(), value);
        serde_json::from_slice::<serde_json::Value>(&text).unwrap();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut other = text.clone();
                other[at] ^= 1 << bit;
                assert!(unseal::<Vec<String>>(&other).is_err(), "bit {bit} of {at}");
            }
            assert!(unseal::<Vec<String>>(&text[..at]).is_err());
        }
    }
}
