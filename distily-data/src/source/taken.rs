use super::SourceConfig;
use super::cell::Cell;
use super::cell::Row;
use super::format::DataFile;
use crate::{ContentHash, DataError, Document};
use distily_core::Seed;
use distily_hub::Hub;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

/// A source whose files are there.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) config: SourceConfig,
    files: Vec<DataFile>,
    hashes: Vec<ContentHash>,
    /// Of each file before it was hashed.
    stamps: Vec<Stamp>,
}

/// What a file that is written anew has another of: its length, and when it was changed.
type Stamp = (u64, Option<SystemTime>);

fn stamp(file: &DataFile) -> Result<Stamp, DataError> {
    let metadata = fs::metadata(file.path()).map_err(DataError::io(file.path()))?;
    Ok((metadata.len(), metadata.modified().ok()))
}

/// What became of a row.
pub(crate) enum Taken {
    Document(Document),
    Dropped(Dropped),
}

/// Why a row is no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    Null,
    Blank,
    TooShort,
    TooLong,
}

impl Source {
    /// Finds the files, and hashes them.
    pub(crate) fn open(config: &SourceConfig, hub: &Hub, base: &Path) -> Result<Self, DataError> {
        let files = config.files(hub, base)?;
        let stamps = files.iter().map(stamp).collect::<Result<_, _>>()?;
        let hashes = files
            .iter()
            .map(|file| ContentHash::of_content(file.path()).map_err(DataError::io(file.path())));
        Ok(Self {
            config: config.clone(),
            hashes: hashes.collect::<Result<_, _>>()?,
            files,
            stamps,
        })
    }

    /// Whether the files are still those that were hashed: what was read of others has the wrong name.
    pub(crate) fn check_unchanged(&self) -> Result<(), DataError> {
        for (file, before) in self.files.iter().zip(&self.stamps) {
            if stamp(file)? != *before {
                return Err(DataError::File {
                    file: file.path().to_owned(),
                    problem: "was changed after the corpus was opened: open it again".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// What the documents are, for a hash: the same files elsewhere are the same.
    pub(crate) fn parts(&self) -> Vec<Vec<u8>> {
        let config = SourceConfig {
            name: String::new(),
            subset: None,
            ..self.config.clone()
        };
        let mut parts = vec![serde_json::to_vec(&config).expect("a config is JSON")];
        for (file, hash) in self.files.iter().zip(&self.hashes) {
            parts.extend([file.encoding().into_bytes(), hash.as_bytes().to_vec()]);
        }
        parts
    }

    /// What the rows become, in their order.
    pub(crate) fn taken(&self, seed: Seed, number: u64) -> Result<SourceRows<'_>, DataError> {
        let Self { config, files, .. } = self;
        let known = config.split.rows().filter(|_| config.sample.is_none());
        let range = match known {
            Some(range) => range,
            None => {
                let mut rows = 0u64;
                for file in files {
                    rows = rows.saturating_add(file.count(config)?);
                }
                config.split.rows_of(rows)
            }
        };
        let sample = config.sample.map(|wanted| Sample {
            wanted,
            left: range.end.saturating_sub(range.start),
            generator: seed.generator("sample of rows", number),
        });
        Ok(SourceRows {
            config,
            files: files.iter(),
            open: None,
            row: 0,
            range,
            sample,
        })
    }
}

/// Takes each of the rows with the same probability, and as many as are wanted: selection sampling
/// (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S).
struct Sample {
    wanted: u64,
    left: u64,
    generator: ChaCha8Rng,
}

impl Sample {
    fn takes(&mut self) -> bool {
        let takes = self.generator.random_range(0..self.left.max(1)) < self.wanted;
        self.left = self.left.saturating_sub(1);
        self.wanted -= u64::from(takes);
        takes
    }
}

/// The rows of a source.
pub(crate) struct SourceRows<'a> {
    config: &'a SourceConfig,
    files: std::slice::Iter<'a, DataFile>,
    open: Option<OpenFile<'a>>,
    /// The next one's number in the split.
    row: u64,
    range: Range<u64>,
    sample: Option<Sample>,
}

struct OpenFile<'a> {
    file: &'a DataFile,
    rows: Box<dyn Iterator<Item = Result<Row, String>>>,
    /// How many of its rows were read.
    read: u64,
}

impl SourceRows<'_> {
    fn next_taken(&mut self) -> Result<Option<Taken>, DataError> {
        while self.row < self.range.end && self.sample.as_ref().is_none_or(|s| s.wanted > 0) {
            let Some(open) = &mut self.open else {
                let Some(file) = self.files.next() else {
                    return Ok(None);
                };
                let rows = file.rows(self.config)?;
                self.open = Some(OpenFile {
                    file,
                    rows,
                    read: 0,
                });
                continue;
            };
            let Some(row) = open.rows.next() else {
                self.open = None;
                continue;
            };
            open.read += 1;
            let row = row.map_err(|problem| open.file.problem(open.read, problem))?;
            if open.read == 1 {
                check_columns(self.config, open.file, &row)?;
            }
            self.row += 1;
            if self.row <= self.range.start || !self.sample.as_mut().is_none_or(Sample::takes) {
                continue;
            }
            return take(self.config, open.file, open.read, row).map(Some);
        }
        Ok(None)
    }
}

impl Iterator for SourceRows<'_> {
    type Item = Result<Taken, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_taken();
        if !matches!(next, Ok(Some(_))) {
            // Nothing comes after an error.
            self.range.end = 0;
        }
        next.transpose()
    }
}

/// A file's first row has all columns that are wanted, also where it is not taken itself.
fn check_columns(config: &SourceConfig, file: &DataFile, first: &Row) -> Result<(), DataError> {
    let names = config.columns.names();
    match names.into_iter().find(|name| !has(first, name)) {
        None => Ok(()),
        Some(missing) => Err(DataError::Column {
            file: file.path().to_owned(),
            column: missing.to_owned(),
            has: first.iter().map(|(name, _)| name.clone()).collect(),
        }),
    }
}

fn has(row: &Row, name: &str) -> bool {
    row.iter().any(|(there, _)| there == name)
}

fn take(
    config: &SourceConfig,
    file: &DataFile,
    number: u64,
    mut row: Row,
) -> Result<Taken, DataError> {
    let columns = &config.columns;
    // A later line of JSON may leave out what is null.
    for name in columns.names() {
        if !has(&row, name) {
            row.push((name.to_owned(), Cell::Null));
        }
    }
    let problem = |problem| file.problem(number, problem);
    let Some(document) = columns.document(row).map_err(problem)? else {
        if config.skip_null {
            return Ok(Taken::Dropped(Dropped::Null));
        }
        return Err(problem(format!(
            "`{}` is null, or a part of it: set `skip_null` to leave such rows out, or mend the file",
            columns.names().join("` or `")
        )));
    };
    let characters = document.characters();
    Ok(if document.is_blank() {
        Taken::Dropped(Dropped::Blank)
    } else if config.min_characters.is_some_and(|min| characters < min) {
        Taken::Dropped(Dropped::TooShort)
    } else if config.max_characters.is_some_and(|max| characters > max) {
        Taken::Dropped(Dropped::TooLong)
    } else {
        Taken::Document(document)
    })
}
