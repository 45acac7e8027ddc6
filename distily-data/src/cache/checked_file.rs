use crate::{ContentHash, DataError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes under one hash: small enough to be read whole for the sake of a row, large enough for the
/// hashes to be 0.006 % of the data.
pub(super) const CHUNK: usize = 1 << 20;

/// What a manifest says of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRecord {
    pub(super) bytes: u64,
    /// The BLAKE3 hash of each chunk of 1 MiB, the last of which may be smaller.
    hashes: Vec<ContentHash>,
}

/// Writes a new file and hashes it on the way.
pub(super) struct HashingWriter {
    file: File,
    chunk: Vec<u8>,
    record: FileRecord,
}

impl HashingWriter {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::create_new(path)?,
            chunk: Vec::with_capacity(CHUNK),
            record: FileRecord {
                bytes: 0,
                hashes: Vec::new(),
            },
        })
    }

    /// Writes what is left, and brings the file to the disk.
    pub(super) fn finish(mut self) -> io::Result<FileRecord> {
        if !self.chunk.is_empty() {
            self.flush()?;
        }
        self.file.sync_all()?;
        Ok(self.record)
    }
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    /// Ends a chunk.
    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.chunk)?;
        self.record.bytes += self.chunk.len() as u64;
        self.record.hashes.push(ContentHash::of_file(&self.chunk));
        self.chunk.clear();
        Ok(())
    }
}

/// A file of which no byte is handed out whose chunk was not compared with its hash before.
#[derive(Debug)]
pub(super) struct CheckedFile {
    path: PathBuf,
    file: File,
    record: FileRecord,
    checked: Vec<AtomicBool>,
}

impl CheckedFile {
    /// Opens a file, and compares its size.
    pub(super) fn open(path: PathBuf, record: FileRecord) -> Result<Self, DataError> {
        let file = File::open(&path).map_err(DataError::io(&path))?;
        let bytes = file.metadata().map_err(DataError::io(&path))?.len();
        if bytes != record.bytes {
            let problem = format!("got {bytes} bytes, expected {}", record.bytes);
            return Err(damaged(&path, problem));
        }
        let chunks = bytes.div_ceil(CHUNK as u64);
        if record.hashes.len() as u64 != chunks {
            let problem = format!("has {} hashes, expected {chunks}", record.hashes.len());
            return Err(damaged(&path, problem));
        }
        Ok(Self {
            checked: record
                .hashes
                .iter()
                .map(|_| AtomicBool::new(false))
                .collect(),
            path,
            file,
            record,
        })
    }

    /// Fills a buffer with the bytes that begin at a place; they are in the file.
    pub(super) fn read(&self, buffer: &mut [u8], start: u64) -> Result<(), DataError> {
        if buffer.is_empty() {
            return Ok(());
        }
        let last = (start + buffer.len() as u64 - 1) / CHUNK as u64;
        for chunk in start / CHUNK as u64..=last {
            self.check(chunk as usize)?;
        }
        self.read_unchecked(buffer, start)
    }

    /// All words of four bytes.
    pub(super) fn words(&self) -> Result<Vec<u32>, DataError> {
        let mut bytes = vec![0; self.record.bytes as usize];
        self.read(&mut bytes, 0)?;
        let words = bytes.as_chunks::<4>().0;
        Ok(words.iter().map(|&word| u32::from_le_bytes(word)).collect())
    }

    /// Compares all that was not compared yet.
    pub(super) fn check_all(&self) -> Result<(), DataError> {
        (0..self.checked.len())
            .into_par_iter()
            .try_for_each(|chunk| self.check(chunk))
    }

    fn check(&self, chunk: usize) -> Result<(), DataError> {
        if self.checked[chunk].load(Ordering::Relaxed) {
            return Ok(());
        }
        let start = (chunk * CHUNK) as u64;
        let length = (self.record.bytes - start).min(CHUNK as u64);
        let mut bytes = vec![0; length as usize];
        self.read_unchecked(&mut bytes, start)?;
        if ContentHash::of_file(&bytes) != self.record.hashes[chunk] {
            let end = start + length;
            let problem = format!("bytes {start} to {end} have another hash than was written");
            return Err(damaged(&self.path, problem));
        }
        self.checked[chunk].store(true, Ordering::Relaxed);
        Ok(())
    }

    fn read_unchecked(&self, buffer: &mut [u8], start: u64) -> Result<(), DataError> {
        read_exact_at(&self.file, buffer, start).map_err(DataError::io(&self.path))
    }
}

pub(super) fn damaged(file: &Path, problem: impl Into<String>) -> DataError {
    DataError::Damaged {
        file: file.to_owned(),
        problem: problem.into(),
    }
}

#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, start)
}

#[cfg(windows)]
pub(crate) fn read_exact_at(file: &File, mut buffer: &mut [u8], mut start: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, start)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                buffer = &mut buffer[read..];
                start += read as u64;
            }
        }
    }
    Ok(())
}
