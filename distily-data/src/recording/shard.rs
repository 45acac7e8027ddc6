use super::encoder::{Encoded, le_bytes};
use super::layout::{Counts, Layout};
use super::manifest::{ShardRecord, shard_file};
use super::{RecordingConfig, RecordingError};
use crate::ContentHash;
use crate::cache::read_exact_at;
use distily_core::write_whole;
use rayon::prelude::*;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The hash of a row: of its bytes in each data tensor, one after the other.
fn row_hash<'a>(data: impl IntoIterator<Item = &'a [u8]>) -> ContentHash {
    let mut hasher = blake3::Hasher::new();
    for bytes in data {
        hasher.update(bytes);
    }
    hasher.finalize().into()
}

/// The rows of a shard that is not written yet.
#[derive(Debug)]
pub(super) struct OpenShard {
    keys: Vec<u8>,
    /// What is before each row, and what is in all.
    before: Vec<Counts>,
    data: Vec<Vec<u8>>,
    /// Where in its row the first token is, which is 0 but in a shard with a part of a large row.
    row_start: u64,
}

impl OpenShard {
    pub(super) fn new(config: &RecordingConfig) -> Self {
        Self {
            keys: Vec::new(),
            before: vec![Counts::default()],
            data: vec![Vec::new(); Layout::data_tensors(config)],
            row_start: 0,
        }
    }

    /// A shard that begins within a row.
    pub(super) fn within_row(config: &RecordingConfig, row_start: u64) -> Self {
        Self {
            row_start,
            ..Self::new(config)
        }
    }

    fn counts(&self) -> Counts {
        self.before[self.before.len() - 1]
    }

    pub(super) fn rows(&self) -> u64 {
        self.counts().rows
    }

    pub(super) fn tokens(&self) -> u64 {
        self.counts().tokens
    }

    pub(super) fn data_bytes(&self) -> usize {
        self.data.iter().map(Vec::len).sum()
    }

    /// The next row, in parts.
    pub(super) fn push(&mut self, key: ContentHash, parts: &[Encoded]) {
        self.keys.extend(key.as_bytes());
        let mut counts = self.counts();
        counts.rows += 1;
        for part in parts {
            counts.tokens += part.tokens;
            counts.entries += part.entries;
            for (all, bytes) in self.data.iter_mut().zip(&part.data) {
                all.extend_from_slice(bytes);
            }
        }
        self.before.push(counts);
    }

    /// Writes the shard with a number, whole or not at all.
    pub(super) fn write(
        &self,
        folder: &Path,
        shard: usize,
        config: &RecordingConfig,
    ) -> Result<ShardRecord, RecordingError> {
        let file = shard_file(folder, shard);
        let counts = self.counts();
        let layout = Layout::new(config, &counts).expect("it is in memory");
        let mut index_hash = None;
        let write = |path: &Path| -> io::Result<()> {
            let mut file = File::options().write(true).open(path)?;
            let write_data = || -> io::Result<()> {
                file.seek(SeekFrom::Start(layout.data))?;
                self.data.iter().try_for_each(|data| file.write_all(data))
            };
            let (written, index) = rayon::join(write_data, || self.index(&layout));
            written?;
            file.rewind()?;
            index_hash = Some(ContentHash::of_file(&index));
            file.write_all(&index)
        };
        write_whole(&file, write).map_err(RecordingError::io(&file))?;
        Ok(ShardRecord {
            row_start: self.row_start,
            rows: counts.rows,
            tokens: counts.tokens,
            entries: counts.entries,
            blake3: index_hash.expect("it was written"),
        })
    }

    /// All before the data.
    fn index(&self, layout: &Layout) -> Vec<u8> {
        let hash = |row: &[Counts]| {
            let ranges = layout.ranges_in_tensors(&row[0], &row[1]);
            let ranges = ranges.expect("it is in memory").into_iter();
            row_hash(
                self.data
                    .iter()
                    .zip(ranges)
                    .map(|(data, range)| &data[range]),
            )
        };
        let hashes: Vec<ContentHash> = self.before.par_windows(2).map(hash).collect();
        let words = |of: fn(&Counts) -> u64| {
            let rows = self.before.windows(2);
            le_bytes(rows.map(|row| ((of(&row[1]) - of(&row[0])) as u32).to_le_bytes()))
        };
        let mut index = layout.header.clone();
        index.extend(&self.keys);
        index.extend(hashes.iter().flat_map(ContentHash::as_bytes));
        index.extend(words(|counts| counts.tokens));
        index.extend(words(|counts| counts.entries));
        index
    }
}

/// A shard on the disk. No row of it is handed out that was not compared with its hash.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) file: PathBuf,
    layout: Layout,
    pub(super) keys: Vec<[u8; 32]>,
    hashes: Vec<[u8; 32]>,
    /// What is before each row, and what is in all.
    before: Vec<Counts>,
}

impl Shard {
    /// Opens a shard, whose length and index are compared with the manifest.
    pub(super) fn open(
        folder: &Path,
        shard: usize,
        config: &RecordingConfig,
        record: &ShardRecord,
    ) -> Result<Self, RecordingError> {
        let path = shard_file(folder, shard);
        let io_error = || RecordingError::io(&path);
        let damaged = |problem: String| RecordingError::damaged(&path, problem);
        let file = File::open(&path).map_err(|problem| match problem.kind() {
            io::ErrorKind::NotFound => damaged("is not there".to_owned()),
            _ => io_error()(problem),
        })?;
        let bytes = file.metadata().map_err(io_error())?.len();
        let layout = Layout::new(config, &record.counts())
            .filter(|layout| layout.bytes == bytes)
            .ok_or_else(|| damaged(format!("{bytes} bytes are not what the manifest says")))?;
        // No more than the file has.
        let mut index = vec![0; layout.data as usize];
        read_exact_at(&file, &mut index, 0).map_err(io_error())?;
        if ContentHash::of_file(&index) != record.blake3 {
            let problem = format!(
                "bytes 0 to {} have another hash than was written",
                layout.data
            );
            return Err(damaged(problem));
        }
        let rows = record.rows as usize;
        let index = index
            .strip_prefix(layout.header.as_slice())
            .ok_or_else(|| damaged("its header is not what the manifest says".to_owned()))?;
        let (of_rows, words) = index.split_at(2 * 32 * rows);
        let (keys, hashes) = of_rows.as_chunks().0.split_at(rows);
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
        Ok(Self {
            layout,
            keys: keys.to_vec(),
            hashes: hashes.to_vec(),
            before,
            file: path,
        })
    }

    /// How many tokens of a row are in the shard.
    pub(super) fn tokens(&self, row: usize) -> u64 {
        self.before[row + 1].tokens - self.before[row].tokens
    }

    /// A row as it was encoded, if its hash is what was written.
    pub(super) fn row(&self, row: usize) -> Result<Encoded, RecordingError> {
        let (from, to) = (&self.before[row], &self.before[row + 1]);
        let ranges = self.layout.ranges(from, to).expect("it is in the file");
        let file = File::open(&self.file).map_err(RecordingError::io(&self.file))?;
        let read = |range: std::ops::Range<u64>| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            read_exact_at(&file, &mut bytes, range.start)
                .map_err(RecordingError::io(&self.file))
                .map(|()| bytes)
        };
        let data: Vec<Vec<u8>> = ranges.into_iter().map(read).collect::<Result<_, _>>()?;
        if row_hash(data.iter().map(Vec::as_slice)).as_bytes() != &self.hashes[row] {
            return Err(self.damaged(row, "another hash than was written"));
        }
        Ok(Encoded {
            tokens: to.tokens - from.tokens,
            entries: to.entries - from.entries,
            data,
        })
    }

    /// Compares all rows with their hashes.
    pub(super) fn check(&self) -> Result<(), RecordingError> {
        let rows = 0..self.hashes.len();
        rows.into_par_iter()
            .try_for_each(|row| self.row(row).map(|_| ()))
    }

    /// What is wrong with a row.
    pub(super) fn damaged(&self, row: usize, problem: impl std::fmt::Display) -> RecordingError {
        let tokens = self.before[row].tokens..self.before[row + 1].tokens;
        RecordingError::damaged(
            &self.file,
            format!(
                "row {row} of the file, its tokens {} to {}: {problem}",
                tokens.start, tokens.end
            ),
        )
    }
}
