//! Files as rows.

mod csv;
mod json_lines;
mod parquet;
mod text;

use super::SourceConfig;
use super::cell::Row;
use crate::DataError;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// A file of documents.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    path: PathBuf,
    format: Format,
    compression: Option<Compression>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Parquet,
    JsonLines,
    Csv { delimiter: u8 },
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
}

/// By the ends of names.
const FORMATS: [(&str, Format); 6] = [
    ("parquet", Format::Parquet),
    ("jsonl", Format::JsonLines),
    ("json", Format::JsonLines),
    ("csv", Format::Csv { delimiter: b',' }),
    ("tsv", Format::Csv { delimiter: b'\t' }),
    ("txt", Format::Text),
];

/// The rows of a file; the error says what is wrong with one, and what to do.
type Rows = Records<Row>;

/// The rows of a file as values of a type.
pub(crate) type Records<T> = Box<dyn Iterator<Item = Result<T, String>>>;

impl DataFile {
    pub(crate) const ENDINGS: &str = "`.parquet`, `.jsonl`, `.json`, `.csv`, `.tsv` and `.txt`, all but the first optionally with `.gz` or `.zst`";

    /// `None` if the name says no format.
    pub(crate) fn new(path: PathBuf) -> Option<Self> {
        let (_, _, format, compression) = parse(path.file_name()?.to_str()?)?;
        Some(Self {
            path,
            format,
            compression,
        })
    }

    /// A name without its endings, and the format that they say.
    pub(crate) fn stem(name: &str) -> Option<(&str, &'static str)> {
        let (stem, ending, ..) = parse(name)?;
        Some((stem, ending))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_text(&self) -> bool {
        self.format == Format::Text
    }

    /// How the bytes are read, for a hash.
    pub(crate) fn encoding(&self) -> String {
        format!("{:?} {:?}", self.format, self.compression)
    }

    pub(crate) fn rows(&self, config: &SourceConfig) -> Result<Rows, DataError> {
        Ok(match self.format {
            Format::Parquet => parquet::rows(&self.path, &config.columns.names())?,
            Format::JsonLines => json_lines::rows(self.open()?),
            Format::Csv { delimiter } => csv::rows(&self.path, self.open()?, delimiter)?,
            Format::Text => {
                let separator = config.document_separator.as_deref();
                text::rows(&self.path, self.open()?, separator)
            }
        })
    }

    /// The rows as values of a type that reads some of the columns, for which JSON lines and parquet
    /// serve.
    pub(crate) fn records<T: DeserializeOwned + 'static>(
        &self,
        columns: &[&str],
    ) -> Result<Records<T>, DataError> {
        match self.format {
            Format::Parquet => parquet::records(&self.path, columns),
            Format::JsonLines => Ok(json_lines::records(self.open()?)),
            Format::Csv { .. } | Format::Text => Err(DataError::File {
                file: self.path.clone(),
                problem: "expected JSON lines (`.jsonl`, `.json`, optionally with `.gz` or `.zst`) or parquet (`.parquet`)".to_owned(),
            }),
        }
    }

    /// How many rows there are; the file is read for it, unless it says so itself.
    pub(crate) fn count(&self, config: &SourceConfig) -> Result<u64, DataError> {
        if self.format == Format::Parquet {
            return parquet::count(&self.path);
        }
        let mut count = 0;
        for row in self.rows(config)? {
            count += 1;
            row.map_err(|problem| self.problem(count, problem))?;
        }
        Ok(count)
    }

    /// What is wrong with a row, which are counted from 1.
    pub(crate) fn problem(&self, row: u64, problem: String) -> DataError {
        DataError::Row {
            file: self.path.clone(),
            row,
            problem,
        }
    }

    /// The file's bytes, decompressed, without a byte order mark.
    fn open(&self) -> Result<Box<dyn BufRead>, DataError> {
        let file = File::open(&self.path).map_err(DataError::io(&self.path))?;
        let broken = |error| DataError::File {
            file: self.path.clone(),
            problem: unreadable(&error),
        };
        let mut bytes: Box<dyn BufRead> = match self.compression {
            None => Box::new(BufReader::new(file)),
            Some(Compression::Gzip) => {
                let decoder = flate2::bufread::MultiGzDecoder::new(BufReader::new(file));
                Box::new(BufReader::new(decoder))
            }
            Some(Compression::Zstd) => {
                let decoder = zstd::Decoder::new(file).map_err(broken)?;
                Box::new(BufReader::new(decoder))
            }
        };
        if bytes
            .fill_buf()
            .map_err(broken)?
            .starts_with(b"\xef\xbb\xbf")
        {
            bytes.consume(3);
        }
        Ok(bytes)
    }
}

fn parse(name: &str) -> Option<(&str, &'static str, Format, Option<Compression>)> {
    let (name, compression) = match name.rsplit_once('.')? {
        (name, "gz") => (name, Some(Compression::Gzip)),
        (name, "zst") => (name, Some(Compression::Zstd)),
        _ => (name, None),
    };
    let (stem, ending) = name.rsplit_once('.')?;
    let (ending, format) = *FORMATS.iter().find(|(known, _)| *known == ending)?;
    let known = format != Format::Parquet || compression.is_none();
    known.then_some((stem, ending, format, compression))
}

/// What is wrong with a file that ends or changes in the middle of something.
fn unreadable(error: &io::Error) -> String {
    format!(
        "can't be read on from here ({error}): it is cut short or damaged, or its name says the wrong compression; get it again"
    )
}
