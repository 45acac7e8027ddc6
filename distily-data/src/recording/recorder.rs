use super::encoder::{Encoded, LikelyIds};
use super::manifest::Manifest;
use super::row_key::{Row, rows_of};
use super::shard::OpenShard;
use super::stored::Stored;
use super::{RecordingConfig, RecordingError};
use crate::{DataError, Import, TokenRows};
use distily_core::{Feature, Taps, Teacher, TokenBatch};
use rayon::prelude::*;
use std::borrow::Borrow;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// Records a teacher into a folder, shard by shard. A recording that was begun goes on where it stood;
/// a kill loses the open shard alone.
///
/// Rows are recorded in their order, so that [`rows`](Self::rows) says where to go on.
///
/// [`record`](Self::record) and [`import`](Self::import) end the open shard themselves; after
/// [`record_likely`](Self::record_likely), [`finish`](Self::finish) does it.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    manifest: Manifest,
    open: OpenShard,
    /// Held as long as the recorder lives.
    _lock: File,
}

/// A shard is written with the row that brings it to this, and before one that brings it above
/// [`MOST_BYTES`]; a row above that is cut into shards of this at most.
const SHARD_BYTES: usize = 12 << 20;
const MOST_BYTES: usize = 16 << 20;

impl Recorder {
    /// Begins a recording, or goes on with the one in the folder.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Config`]; [`RecordingError::Mismatch`] where the folder holds a recording of
    /// something else; [`RecordingError::Locked`], [`RecordingError::Damaged`], [`RecordingError::Io`].
    pub fn open(
        folder: impl Into<PathBuf>,
        config: RecordingConfig,
    ) -> Result<Self, RecordingError> {
        let folder = folder.into();
        config.check()?;
        fs::create_dir_all(&folder).map_err(RecordingError::io(&folder))?;
        let lock = lock(&folder)?;
        let manifest = match Manifest::read(&folder)? {
            Some(manifest) if !manifest.shards.is_empty() => {
                check_same(&manifest.recording, &config, &folder)?;
                Stored::open(&folder, &manifest)?;
                manifest
            }
            // Of an empty one nothing is lost.
            _ => {
                let manifest = Manifest::new(config);
                manifest.write(&folder)?;
                manifest
            }
        };
        remove_left_over(&folder)?;
        Ok(Self {
            open: OpenShard::new(&manifest.recording),
            folder,
            manifest,
            _lock: lock,
        })
    }

    /// Rows that are recorded, those of the open shard among them.
    pub fn rows(&self) -> u64 {
        self.manifest.rows() + self.open.rows()
    }

    /// Records what a teacher says of the rows that are not recorded yet, `batch_size` at a time, and
    /// ends the open shard.
    ///
    /// # Errors
    ///
    /// [`RecordingError::OtherRows`] for rows, [`RecordingError::Config`] for a teacher, that the
    /// recording is not of; [`RecordingError::Unrecordable`]; whatever keeps the teacher from
    /// answering and the rows from being read; [`RecordingError::Io`].
    pub fn record(
        &mut self,
        teacher: &dyn Teacher,
        rows: &TokenRows,
        batch_size: usize,
    ) -> Result<(), RecordingError> {
        self.check_rows(rows)?;
        let config = &self.manifest.recording;
        if teacher.shape() != config.shape {
            return Err(RecordingError::Config {
                field: "shape",
                got: format!("{:?}", config.shape),
                expected: "the shape of the teacher that is recorded",
            });
        }
        let layers = config.hidden_layers.iter();
        let taps = layers.fold(Taps::none(), |taps, &layer| {
            taps.with(layer, Feature::Hidden)
        });
        let recorded = self.record_rest(teacher, &taps, rows, batch_size);
        // Whatever ended it, the teacher was asked for the rows before.
        self.finish()?;
        recorded
    }

    fn record_rest(
        &mut self,
        teacher: &dyn Teacher,
        taps: &Taps,
        rows: &TokenRows,
        batch_size: usize,
    ) -> Result<(), RecordingError> {
        let mut at = self.rows() as usize;
        while at < rows.len() {
            let end = rows.len().min(at + batch_size.max(1));
            let batch = rows.batch(at..end)?;
            let answer = teacher.answer(&batch, taps)?;
            for (place, row) in rows_of(&batch).iter().enumerate() {
                let unrecordable = |problem: String| RecordingError::Unrecordable {
                    row: self.rows(),
                    problem,
                };
                let config = &self.manifest.recording;
                let parts = config.encode_answer(&answer, place, row, self.rows());
                let parts = parts.map_err(unrecordable)?;
                self.push(row, &parts)?;
            }
            at = end;
            tracing::debug!(rows = at, of = rows.len(), "recorded");
        }
        Ok(())
    }

    /// Records what another tool kept of the rows that are not recorded yet, and ends the open shard. The
    /// rows are those of the [import](Import::rows); or others of the same tokens, for whose documents,
    /// row after row, the import has a sequence each that begins with their tokens. The codec is
    /// [`Codec::TopK`](crate::Codec::TopK), without hidden states.
    ///
    /// Of a token of which nothing was said (the last of a sequence, those of a prompt) the recording
    /// knows nothing: the mass of all other ids is 1. Rows of the same tokens are one row of a recording,
    /// which says what was said last.
    ///
    /// # Errors
    ///
    /// [`RecordingError::OtherRows`] for rows that the recording is not of; [`RecordingError::Data`]
    /// where the import can't be read or is of other tokens; [`RecordingError::Unrecordable`] where the
    /// recording can't keep it; [`RecordingError::Io`].
    pub fn import(&mut self, import: &Import, rows: &TokenRows) -> Result<(), RecordingError> {
        self.check_rows(rows)?;
        let imported = self.import_rest(import, rows);
        // Whatever ended it, what came before is right.
        self.finish()?;
        imported
    }

    fn import_rest(&mut self, import: &Import, rows: &TokenRows) -> Result<(), RecordingError> {
        let recorded = self.rows();
        let mut sequences = import.sequences()?;
        for (number, batch) in (0..).zip(rows.in_order(1)) {
            let batch = batch?;
            let row = &rows_of(&batch)[0];
            let mut likely = Vec::with_capacity(row.places.len());
            for document in &row.documents {
                let expected = &row.ids[document.clone()];
                let sequence = sequences.next().transpose()?;
                let other = |got: String| DataError::Source {
                    name: import.path().display().to_string(),
                    problem: format!(
                        "{got}, but in row {number} comes {}: it has to have a sequence for each document of the rows, in their order",
                        begin(expected)
                    ),
                };
                let sequence = sequence.ok_or_else(|| other("has no more sequences".to_owned()))?;
                if !sequence.ids.starts_with(expected) {
                    let got = format!("its next sequence is {}", begin(&sequence.ids));
                    return Err(other(got).into());
                }
                likely.extend(sequence.predictions.into_iter().take(expected.len()));
            }
            if number < recorded {
                continue;
            }
            let config = &self.manifest.recording;
            let problem = |problem| RecordingError::Unrecordable {
                row: number,
                problem,
            };
            let vocabulary = config.shape.vocabulary;
            if let Some(id) = row.ids.iter().find(|&&id| id as usize >= vocabulary) {
                let said = format!("its token {id} is not in the vocabulary of {vocabulary}");
                return Err(problem(said));
            }
            if !config.hidden_layers.is_empty() {
                let said = "likely ids are given, but hidden states are to be kept too";
                return Err(problem(said.to_owned()));
            }
            let encoded = config.encode_likely(likely, &[]).map_err(problem)?;
            self.push(row, &encoded)?;
        }
        Ok(())
    }

    fn check_rows(&self, rows: &TokenRows) -> Result<(), RecordingError> {
        let (got, expected) = (rows.key(), self.manifest.recording.provenance.data);
        match got == expected {
            true => Ok(()),
            false => Err(RecordingError::OtherRows { got, expected }),
        }
    }

    /// Records likely ids that are given: those of each token of the batch but its padding, row after
    /// row. The codec is [`Codec::TopK`](crate::Codec::TopK), without hidden states.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Unrecordable`] where they do not fit the batch or the codec; nothing of the
    /// batch is recorded then. [`RecordingError::Io`], after which [`rows`](Self::rows) says how far the
    /// batch was recorded: go on there.
    pub fn record_likely(
        &mut self,
        batch: &TokenBatch,
        known: &LikelyIds,
    ) -> Result<(), RecordingError> {
        let config = &self.manifest.recording;
        let first = self.rows();
        let unrecordable = |row: usize, problem: String| RecordingError::Unrecordable {
            row: first + row as u64,
            problem,
        };
        let rows = rows_of(batch);
        let tokens: usize = rows.iter().map(|row| row.places.len()).sum();
        let entries = known
            .lengths
            .iter()
            .try_fold(0usize, |sum, &of| sum.checked_add(of));
        if !config.hidden_layers.is_empty() {
            let problem = "likely ids are given, but hidden states are to be kept too";
            return Err(unrecordable(0, problem.to_owned()));
        }
        if [known.lengths.len(), known.tails.len()] != [tokens; 2]
            || [known.ids.len(), known.log_probabilities.len()].map(Some) != [entries; 2]
        {
            let problem = format!(
                "{} lengths, {} tails, {} ids and {} log-probabilities are not those of {tokens} tokens",
                known.lengths.len(),
                known.tails.len(),
                known.ids.len(),
                known.log_probabilities.len()
            );
            return Err(unrecordable(0, problem));
        }
        let (mut token, mut entry) = (0, 0);
        let ranges = rows.iter().map(|row| {
            let tokens = token..token + row.places.len();
            let of_row: usize = known.lengths[tokens.clone()].iter().sum();
            let entries = entry..entry + of_row;
            (token, entry) = (tokens.end, entries.end);
            (tokens, entries)
        });
        let ranges: Vec<_> = ranges.collect();
        let encoded: Vec<Vec<Encoded>> = ranges
            .into_par_iter()
            .enumerate()
            .map(|(row, (tokens, entries))| {
                config
                    .encode_known(known, tokens, entries)
                    .map_err(|problem| unrecordable(row, problem))
            })
            .collect::<Result<_, _>>()?;
        for (row, encoded) in rows.iter().zip(encoded) {
            self.push(row, &encoded)?;
        }
        Ok(())
    }

    /// Writes the open shard. What is recorded after it begins another one.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Io`].
    pub fn finish(&mut self) -> Result<(), RecordingError> {
        if self.open.rows() == 0 {
            return Ok(());
        }
        let open = OpenShard::new(&self.manifest.recording);
        let whole = std::mem::replace(&mut self.open, open);
        let written = self.write([&whole]);
        if written.is_err() {
            // There may be room when it is tried again.
            self.open = whole;
        }
        written
    }

    /// Writes shards, all of which are part of the recording then, or none.
    fn write(
        &mut self,
        shards: impl IntoIterator<Item = impl Borrow<OpenShard>>,
    ) -> Result<(), RecordingError> {
        let mut manifest = self.manifest.clone();
        for shard in shards {
            let number = manifest.shards.len();
            let record = shard
                .borrow()
                .write(&self.folder, number, &manifest.recording)?;
            manifest.shards.push(record);
        }
        manifest.write(&self.folder)?;
        self.manifest = manifest;
        Ok(())
    }

    fn push(&mut self, row: &Row, parts: &[Encoded]) -> Result<(), RecordingError> {
        let bytes: usize = parts.iter().map(Encoded::bytes).sum();
        if self.open.data_bytes() + bytes > MOST_BYTES {
            self.finish()?;
        }
        if bytes > MOST_BYTES {
            return self.push_large(row, parts, bytes.div_ceil(SHARD_BYTES));
        }
        self.open.push(row.key, parts);
        if self.open.data_bytes() >= SHARD_BYTES {
            self.finish()?;
        }
        Ok(())
    }

    /// Writes a row into so many shards of its own.
    fn push_large(
        &mut self,
        row: &Row,
        parts: &[Encoded],
        shards: usize,
    ) -> Result<(), RecordingError> {
        let config = self.manifest.recording.clone();
        let mut row_start = 0;
        let shards = shares(parts, shards).map(|parts| {
            let mut open = OpenShard::within_row(&config, row_start);
            open.push(row.key, parts);
            row_start += open.tokens();
            open
        });
        self.write(shards)
    }
}

/// Parts in so many runs of about as many bytes each, none of them empty.
fn shares(parts: &[Encoded], shares: usize) -> impl Iterator<Item = &[Encoded]> {
    let bytes: usize = parts.iter().map(Encoded::bytes).sum();
    let (mut rest, mut taken, mut number) = (parts, 0, 0);
    std::iter::from_fn(move || {
        let mut count = 0;
        while count < rest.len() && (count == 0 || taken * shares < bytes * (number + 1)) {
            taken += rest[count].bytes();
            count += 1;
        }
        number += 1;
        let (share, others) = rest.split_at(count);
        rest = others;
        (!share.is_empty()).then_some(share)
    })
}

/// How a sequence begins, for an error.
fn begin(ids: &[u32]) -> String {
    let first = ids.iter().take(8).map(u32::to_string).collect::<Vec<_>>();
    let more = if ids.len() > 8 { ", …" } else { "" };
    format!("[{}{more}] of {} tokens", first.join(", "), ids.len())
}

/// Takes the folder's lock, a file that stays for ever: if it were removed, two could hold it.
fn lock(folder: &Path) -> Result<File, RecordingError> {
    let file = folder.join(".lock");
    let lock = File::options().create(true).append(true).open(&file);
    let lock = lock.map_err(RecordingError::io(&file))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(RecordingError::Locked(folder.to_owned())),
        Err(TryLockError::Error(problem)) => Err(RecordingError::io(&file)(problem)),
    }
}

/// Removes what a writer that was killed left.
fn remove_left_over(folder: &Path) -> Result<(), RecordingError> {
    let io = RecordingError::io;
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let entry = entry.map_err(io(folder))?;
        if entry.file_name().to_string_lossy().starts_with(".partial-") {
            fs::remove_file(entry.path()).map_err(io(&entry.path()))?;
        }
    }
    Ok(())
}

/// Refuses to go on with a recording in another way.
fn check_same(
    recorded: &RecordingConfig,
    config: &RecordingConfig,
    folder: &Path,
) -> Result<(), RecordingError> {
    recorded.provenance.check(&config.provenance, folder)?;
    let of = |config: &RecordingConfig| {
        [
            ("shape", format!("{:?}", config.shape)),
            ("codec", format!("{:?}", config.codec)),
            ("hidden_layers", format!("{:?}", config.hidden_layers)),
        ]
    };
    for ((what, got), (_, expected)) in of(recorded).into_iter().zip(of(config)) {
        if got != expected {
            return Err(RecordingError::Mismatch {
                folder: folder.to_owned(),
                what,
                got,
                expected,
            });
        }
    }
    Ok(())
}
