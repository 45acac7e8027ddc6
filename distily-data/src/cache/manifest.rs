use super::checked_file::{FileRecord, damaged};
use crate::sealed::{seal, unseal};
use crate::{ContentHash, DataError};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// What an entry of the cache holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) key: ContentHash,
    /// Bytes of an id: 2 or 4.
    pub(super) id_bytes: usize,
    pub(super) documents: u64,
    pub(super) tokens: u64,
    /// The ids, little-endian.
    pub(super) ids: FileRecord,
    /// The tokens of each document, u32.
    pub(super) lengths: FileRecord,
    /// Where it changes whether tokens count, u32: the distance from the place before.
    pub(super) loss_mask: Option<FileRecord>,
}

/// What every format says first.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Another number for another layout of the files.
pub(super) const FORMAT: u32 = 2;

impl Manifest {
    pub(super) fn write(self, file: &Path) -> io::Result<()> {
        let text = seal(&self)?;
        let mut file = File::create_new(file)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// Reads the manifest of an entry.
    pub(super) fn read(file: &Path, key: ContentHash) -> Result<Self, DataError> {
        let text = fs::read(file).map_err(DataError::io(file))?;
        let damaged_text = |problem: String| damaged(file, problem);
        let Format { format } = unseal(&text).map_err(damaged_text)?;
        if format != FORMAT {
            let problem = format!("its format is {format}, expected {FORMAT}");
            return Err(damaged(file, problem));
        }
        let manifest: Self = unseal(&text).map_err(damaged_text)?;
        if manifest.key != key {
            let problem = format!("is of the entry {}, not of this one", manifest.key);
            return Err(damaged(file, problem));
        }
        manifest
            .check_sizes()
            .map_err(|problem| damaged(file, problem))?;
        Ok(manifest)
    }

    /// Whether the files can hold what they are said to.
    fn check_sizes(&self) -> Result<(), String> {
        if !matches!(self.id_bytes, 2 | 4) {
            return Err(format!("ids of {} bytes, expected 2 or 4", self.id_bytes));
        }
        let expected = [
            (
                "ids",
                &self.ids,
                self.tokens.checked_mul(self.id_bytes as u64),
            ),
            ("lengths", &self.lengths, self.documents.checked_mul(4)),
        ];
        for (name, record, bytes) in expected {
            if bytes != Some(record.bytes) {
                return Err(format!(
                    "{name} of {} bytes, expected {bytes:?}",
                    record.bytes
                ));
            }
        }
        match &self.loss_mask {
            Some(record) if !record.bytes.is_multiple_of(4) => Err(format!(
                "a loss mask of {} bytes, expected words of 4",
                record.bytes
            )),
            _ => Ok(()),
        }
    }
}
