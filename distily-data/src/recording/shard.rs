use super::encoder::{Encoded, le_bytes};
use super::layout::{Counts, Layout};
use super::manifest::{ShardRecord, shard_file};
use super::{RecordingConfig, RecordingError};
use crate::ContentHash;
use crate::cache::read_exact_at;
use distily_core::write_whole;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The rows of a shard that is not written yet.
#[derive(Debug)]
pub(super) struct OpenShard {
    keys: Vec<u8>,
    /// Of each row.
    tokens: Vec<u32>,
    entries: Vec<u32>,
    data: Vec<Vec<u8>>,
    counts: Counts,
}

impl OpenShard {
    pub(super) fn new(config: &RecordingConfig) -> Self {
        Self {
            keys: Vec::new(),
            tokens: Vec::new(),
            entries: Vec::new(),
            data: vec![Vec::new(); Layout::data_tensors(config)],
            counts: Counts::default(),
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.counts.rows
    }

    pub(super) fn data_bytes(&self) -> usize {
        self.data.iter().map(Vec::len).sum()
    }

    /// The next row, in parts.
    pub(super) fn push(&mut self, key: ContentHash, parts: &[Encoded]) {
        self.keys.extend(key.as_bytes());
        let (mut tokens, mut entries) = (0, 0);
        for part in parts {
            tokens += part.tokens;
            entries += part.entries;
            for (all, bytes) in self.data.iter_mut().zip(&part.data) {
                all.extend_from_slice(bytes);
            }
        }
        self.tokens.push(tokens as u32);
        self.entries.push(entries as u32);
        self.counts.rows += 1;
        self.counts.tokens += tokens;
        self.counts.entries += entries;
    }

    /// Writes the shard with a number, whole or not at all.
    pub(super) fn write(
        &self,
        folder: &Path,
        shard: usize,
        config: &RecordingConfig,
    ) -> Result<ShardRecord, RecordingError> {
        let file = shard_file(folder, shard);
        let layout = Layout::new(config, &self.counts).expect("it is in memory");
        let words = |words: &[u32]| le_bytes(words.iter().map(|word| word.to_le_bytes()));
        let index = [
            layout.header,
            self.keys.clone(),
            words(&self.tokens),
            words(&self.entries),
        ]
        .concat();
        let parts = || std::iter::once(&index).chain(&self.data);
        let write = || {
            write_whole(&file, |path| -> std::io::Result<()> {
                let mut file = File::options().write(true).open(path)?;
                parts().try_for_each(|part| file.write_all(part))
            })
        };
        let hash = || {
            let mut hasher = blake3::Hasher::new();
            parts().for_each(|part| {
                hasher.update(part);
            });
            hasher.finalize()
        };
        let (written, hash) = rayon::join(write, hash);
        written.map_err(RecordingError::io(&file))?;
        Ok(ShardRecord {
            rows: self.counts.rows,
            tokens: self.counts.tokens,
            entries: self.counts.entries,
            index_blake3: ContentHash::of_file(&index),
            blake3: hash.into(),
        })
    }
}

/// A shard on the disk. No byte of it is handed out before the file was compared with its hash.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) file: PathBuf,
    layout: Layout,
    hash: ContentHash,
    /// What is before each row, and what is in all.
    before: Vec<Counts>,
    checked: Mutex<bool>,
}

impl Shard {
    /// Opens a shard, whose length and index are compared with the manifest; and the key of each row.
    pub(super) fn open(
        folder: &Path,
        shard: usize,
        config: &RecordingConfig,
        record: &ShardRecord,
    ) -> Result<(Self, Vec<[u8; 32]>), RecordingError> {
        let path = shard_file(folder, shard);
        let io = || RecordingError::io(&path);
        let damaged = |problem: String| RecordingError::damaged(&path, problem);
        let file = File::open(&path).map_err(io())?;
        let bytes = file.metadata().map_err(io())?.len();
        let layout = Layout::new(config, &record.counts())
            .filter(|layout| layout.bytes == bytes)
            .ok_or_else(|| damaged(format!("{bytes} bytes are not what the manifest says")))?;
        // No more than the file has.
        let mut index = vec![0; layout.data as usize];
        read_exact_at(&file, &mut index, 0).map_err(io())?;
        if ContentHash::of_file(&index) != record.index_blake3 {
            let problem = format!(
                "bytes 0 to {} have another hash than was written",
                layout.data
            );
            return Err(damaged(problem));
        }
        let rows = record.rows as usize;
        let (keys, words) = index
            .strip_prefix(layout.header.as_slice())
            .ok_or_else(|| damaged("its header is not what the manifest says".to_owned()))?
            .split_at(32 * rows);
        let (tokens, entries) = words.as_chunks::<4>().0.split_at(rows);
        let mut at = Counts::default();
        let mut before = vec![at];
        for (&tokens, &entries) in tokens.iter().zip(entries) {
            at.rows += 1;
            at.tokens += u64::from(u32::from_le_bytes(tokens));
            at.entries += u64::from(u32::from_le_bytes(entries));
            before.push(at);
        }
        if at != record.counts() {
            let problem = format!(
                "its rows hold {at:?}, but the manifest says {:?}",
                record.counts()
            );
            return Err(damaged(problem));
        }
        let keys = keys.as_chunks().0.to_vec();
        let shard = Self {
            layout,
            hash: record.blake3,
            before,
            checked: Mutex::new(false),
            file: path,
        };
        Ok((shard, keys))
    }

    /// Compares the file with its hash, if that was not done yet.
    pub(super) fn check(&self) -> Result<(), RecordingError> {
        // Whoever comes second waits, rather than read the file again.
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if !*checked {
            let hash = ContentHash::of_content(&self.file);
            if hash.map_err(RecordingError::io(&self.file))? != self.hash {
                let problem = format!(
                    "bytes 0 to {} have another hash than was written",
                    self.layout.bytes
                );
                return Err(RecordingError::damaged(&self.file, problem));
            }
            *checked = true;
        }
        Ok(())
    }

    /// A row as it was encoded.
    pub(super) fn row(&self, row: usize) -> Result<Encoded, RecordingError> {
        self.check()?;
        let (from, to) = (&self.before[row], &self.before[row + 1]);
        let ranges = self.layout.ranges(from, to).expect("it is in the file");
        let file = File::open(&self.file).map_err(RecordingError::io(&self.file))?;
        let read = |range: std::ops::Range<u64>| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            read_exact_at(&file, &mut bytes, range.start)
                .map_err(RecordingError::io(&self.file))
                .map(|()| bytes)
        };
        Ok(Encoded {
            tokens: to.tokens - from.tokens,
            entries: to.entries - from.entries,
            data: ranges.into_iter().map(read).collect::<Result<_, _>>()?,
        })
    }
}
