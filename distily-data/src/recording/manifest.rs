use super::layout::Counts;
use super::{RecordingConfig, RecordingError};
use crate::ContentHash;
use crate::sealed::{seal, unseal};
use distily_core::write_whole;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What is in a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) recording: RecordingConfig,
    pub(super) shards: Vec<ShardRecord>,
}

/// What is in a shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShardRecord {
    /// Where in its row the first token is: above 0, the shard goes on with the last row of the one before.
    pub(super) row_start: u64,
    pub(super) rows: u64,
    pub(super) tokens: u64,
    pub(super) entries: u64,
    /// The BLAKE3 hash of the file up to the end of `row_entries`: of the header, of where each row is, and
    /// of each row's hash, so that it stands for the whole file.
    pub(super) blake3: ContentHash,
}

impl ShardRecord {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            rows: self.rows,
            tokens: self.tokens,
            entries: self.entries,
        }
    }
}

/// What every format says first.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Another number for another layout of the files.
const FORMAT: u32 = 2;

const MANIFEST: &str = "manifest.json";

/// The file of a shard, counted from 0.
pub(super) fn shard_file(folder: &Path, shard: usize) -> PathBuf {
    folder.join(format!("shard-{shard:05}.safetensors"))
}

impl Manifest {
    pub(super) fn new(recording: RecordingConfig) -> Self {
        Self {
            format: FORMAT,
            recording,
            shards: Vec::new(),
        }
    }

    pub(super) fn rows(&self) -> u64 {
        let begun = |shard: &ShardRecord| shard.rows - u64::from(shard.row_start > 0);
        self.shards.iter().map(begun).sum()
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), RecordingError> {
        let file = folder.join(MANIFEST);
        let write = |path: &Path| fs::write(path, seal(self).map_err(io::Error::other)?);
        write_whole(&file, write).map_err(RecordingError::io(&file))
    }

    /// That of a folder that has to have one.
    pub(super) fn existing(folder: &Path) -> Result<Self, RecordingError> {
        Self::read(folder)?.ok_or_else(|| RecordingError::Missing(folder.to_owned()))
    }

    /// `None` if there is none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, RecordingError> {
        let file = folder.join(MANIFEST);
        let text = match fs::read(&file) {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(RecordingError::io(&file))?,
        };
        let damaged = |problem: String| RecordingError::damaged(&file, problem);
        let Format { format } = unseal(&text).map_err(damaged)?;
        if format != FORMAT {
            return Err(RecordingError::Format {
                file,
                got: format,
                expected: FORMAT,
            });
        }
        let manifest: Self = unseal(&text).map_err(damaged)?;
        manifest
            .recording
            .check()
            .map_err(|problem| damaged(problem.to_string()))?;
        if let Some(empty) = manifest.shards.iter().position(|shard| shard.rows == 0) {
            return Err(damaged(format!("shard {empty} has no rows")));
        }
        Ok(Some(manifest))
    }
}
