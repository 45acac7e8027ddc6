mod checked_file;
mod entry;
mod manifest;

use crate::{ContentHash, DataError, DocumentEncoder, DocumentSource, Tokens};
use entry::{Entry, EntryWriter};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use checked_file::read_exact_at;
pub(crate) use entry::StoredIds;

/// A folder of documents that are tokens already. An entry is named by what its tokens are
/// ([`DocumentEncoder::key`]): other documents, another tokenizer and other options are another
/// entry, and the same ones are never written twice. Packing and length are not part of it: rows
/// are laid over the tokens as they are opened.
///
/// ```text
/// KEY/manifest.json    sizes, and a BLAKE3 hash for each MiB of the files
///     ids.bin          the ids, u16 where the vocabulary allows it, or u32
///     lengths.bin      the tokens of each document, u32
///     loss_mask.bin    only if some tokens do not count: the distance of each change from the one before, u32
/// .partial-KEY/        an entry that is being written, or whose writer was killed
/// .locks/KEY
/// ```
///
/// Numbers are little-endian: `numpy.fromfile("KEY/ids.bin", "<u2")` reads the tokens. An entry is
/// written whole or not at all. Its bytes are compared with their hashes when they are first read;
/// [`verify`](Self::verify) compares all.
///
/// ```
/// use distily_data::{DocumentEncoder, TextTokenizer, TokenCache};
///
/// # let folder = tempfile::tempdir()?;
/// # std::env::set_current_dir(&folder)?;
/// # let words = br#"{ "model": { "type": "WordLevel", "unk_token": "?",
/// #     "vocab": { "?": 0, "a": 1, "cat": 2 } }, "pre_tokenizer": { "type": "Whitespace" } }"#;
/// # let tokenizer = TextTokenizer::from_bytes(words, std::path::Path::new("tokenizer.json"))?;
/// let encoder = DocumentEncoder::new(tokenizer);
/// let texts = ["a cat".to_owned(), "cat".to_owned()];
/// let cache = TokenCache::new("cache");
/// let tokens = cache.tokens(texts.as_slice(), &encoder)?; // encodes and writes
/// let again = cache.tokens(texts.as_slice(), &encoder)?; // reads
/// assert_eq!((tokens.key(), tokens.len()), (again.key(), again.len()));
/// cache.gc(&[tokens.key()])?; // frees all other entries
/// assert_eq!(cache.entries()?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TokenCache {
    folder: PathBuf,
}

/// An entry of a [`TokenCache`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheEntry {
    /// Its name.
    pub key: ContentHash,
    /// The bytes of its files.
    pub bytes: u64,
}

impl TokenCache {
    /// A cache in a folder, which is made when the first entry is written.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The tokens of all documents of a source: from the cache, or encoded and written to it. Of
    /// several processes that want the same, one writes and the others wait for it.
    ///
    /// # Errors
    ///
    /// Where a document can't be read or encoded, [`DataError::Damaged`], [`DataError::Io`].
    pub fn tokens<S: DocumentSource + ?Sized>(
        &self,
        source: &S,
        encoder: &DocumentEncoder,
    ) -> Result<Tokens, DataError> {
        let key = encoder.key(source)?;
        if let Some(tokens) = self.open(key)? {
            return Ok(tokens);
        }
        let (lock, file) = self.lock_of(key)?;
        lock.lock().map_err(DataError::io(&file))?;
        // Another process may have written it meanwhile.
        if let Some(tokens) = self.open(key)? {
            return Ok(tokens);
        }
        let partial = self.partial(key);
        self.remove(&partial)?;
        fs::create_dir(&partial).map_err(DataError::io(&partial))?;
        let written = write(&partial, key, source, encoder);
        if let Err(problem) = written {
            // What can't be removed now is removed by whoever tries next.
            let _ = self.remove(&partial);
            return Err(problem);
        }
        let entry = self.entry(key);
        fs::rename(&partial, &entry).map_err(DataError::io(&entry))?;
        // The rename itself is on the disk only when the folder is.
        sync_folder(&self.folder).map_err(DataError::io(&self.folder))?;
        let missing = || DataError::io(&entry)(io::ErrorKind::NotFound.into());
        self.open(key)?.ok_or_else(missing)
    }

    /// The tokens of an entry, if there is one.
    ///
    /// # Errors
    ///
    /// [`DataError::Damaged`], [`DataError::Io`].
    pub fn open(&self, key: ContentHash) -> Result<Option<Tokens>, DataError> {
        let entry = Entry::open(&self.entry(key), key)?;
        Ok(entry.map(|entry| Tokens::stored(key, entry.layout, entry.ids)))
    }

    /// Compares all bytes of an entry with their hashes; whether there is such an entry.
    ///
    /// # Errors
    ///
    /// [`DataError::Damaged`] with the file and the place, [`DataError::Io`].
    pub fn verify(&self, key: ContentHash) -> Result<bool, DataError> {
        match Entry::open(&self.entry(key), key)? {
            None => Ok(false),
            Some(entry) => entry.ids.check_all().map(|()| true),
        }
    }

    /// All entries, whole or damaged, in the order of their keys.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`].
    pub fn entries(&self) -> Result<Vec<CacheEntry>, DataError> {
        let mut entries: Vec<CacheEntry> = self
            .names()?
            .iter()
            .filter_map(|name| name.parse().ok())
            .map(|key| {
                let bytes = bytes_in(&self.entry(key))?;
                Ok(CacheEntry { key, bytes })
            })
            .collect::<Result<_, DataError>>()?;
        entries.sort_by_key(|entry| *entry.key.as_bytes());
        Ok(entries)
    }

    /// Removes all entries but those with the keys given, and what writers that were killed left;
    /// an entry that is being written stays. Returns the bytes that this freed.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`].
    pub fn gc(&self, keep: &[ContentHash]) -> Result<u64, DataError> {
        let mut freed = 0;
        for name in self.names()? {
            let left_over = name.strip_prefix(PARTIAL);
            let Ok(key) = left_over.unwrap_or(&name).parse() else {
                continue;
            };
            if left_over.is_none() && keep.contains(&key) {
                continue;
            }
            let (lock, file) = self.lock_of(key)?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(problem)) => return Err(DataError::io(&file)(problem)),
            }
            let partial = self.partial(key);
            freed += self.remove(&partial)?;
            if left_over.is_none() {
                // Half an entry never has an entry's name.
                let entry = self.entry(key);
                match fs::rename(&entry, &partial) {
                    Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
                        return Err(DataError::io(&entry)(problem));
                    }
                    _ => freed += self.remove(&partial)?,
                }
            }
        }
        Ok(freed)
    }

    fn entry(&self, key: ContentHash) -> PathBuf {
        self.folder.join(key.to_string())
    }

    fn partial(&self, key: ContentHash) -> PathBuf {
        self.folder.join(format!("{PARTIAL}{key}"))
    }

    /// The lock of an entry, not yet taken, and its file, which stays for ever: if it were removed,
    /// two processes could hold it.
    fn lock_of(&self, key: ContentHash) -> Result<(File, PathBuf), DataError> {
        let folder = self.folder.join(".locks");
        fs::create_dir_all(&folder).map_err(DataError::io(&folder))?;
        let file = folder.join(key.to_string());
        let lock = File::options().create(true).append(true).open(&file);
        Ok((lock.map_err(DataError::io(&file))?, file))
    }

    /// The names in the folder; none if there is no folder.
    fn names(&self) -> Result<Vec<String>, DataError> {
        let io = DataError::io(&self.folder);
        let names = match fs::read_dir(&self.folder) {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.and_then(|entries| {
                let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
                names.collect::<io::Result<Vec<_>>>()
            }),
        };
        Ok(names.map_err(io)?.into_iter().flatten().collect())
    }

    /// Removes a folder, if there is one; the bytes that were in it.
    fn remove(&self, folder: &Path) -> Result<u64, DataError> {
        let bytes = bytes_in(folder)?;
        match fs::remove_dir_all(folder) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
                Err(DataError::io(folder)(problem))
            }
            _ => Ok(bytes),
        }
    }
}

const PARTIAL: &str = ".partial-";

fn write<S: DocumentSource + ?Sized>(
    folder: &Path,
    key: ContentHash,
    source: &S,
    encoder: &DocumentEncoder,
) -> Result<(), DataError> {
    let mut writer = EntryWriter::create(folder, encoder.tokenizer.vocabulary())?;
    encoder.encode_each(source, |document| writer.push(&document))?;
    writer.finish(key)
}

/// The bytes of a folder's files; 0 if there is no folder.
fn bytes_in(folder: &Path) -> Result<u64, DataError> {
    let bytes = fs::read_dir(folder).and_then(|files| {
        files
            .map(|file| Ok(file?.metadata()?.len()))
            .sum::<io::Result<u64>>()
    });
    match bytes {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(0),
        bytes => bytes.map_err(DataError::io(folder)),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
