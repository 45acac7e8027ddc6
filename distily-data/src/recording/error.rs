use crate::{ContentHash, DataError};
use distily_core::ForwardError;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a teacher is not recorded, or a recording does not teach.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The disk.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is not what was written.
    #[error("{file}: {problem}: the recording is damaged; bring the file back, or record anew")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where in the file.
        problem: String,
    },
    /// A recording by another version of this crate.
    #[error(
        "{file}: its format is {got}, expected {expected}: record anew, in another folder, or read it by the version that wrote it"
    )]
    Format {
        /// The manifest.
        file: PathBuf,
        /// Its format.
        got: u32,
        /// The one that is read.
        expected: u32,
    },
    /// A folder without a recording.
    #[error(
        "{0}: no recording is in this folder: record the teacher into it first, or name another"
    )]
    Missing(PathBuf),
    /// A recording of something else.
    #[error(
        "{folder}: the recording's {what} is {got}, but {expected} was asked for: ask for what is recorded, or record anew, in another folder"
    )]
    Mismatch {
        /// The recording's folder.
        folder: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the recording says.
        got: String,
        /// What was asked for.
        expected: String,
    },
    /// Someone else is recording into the folder.
    #[error("{0}: another process is recording into this folder")]
    Locked(PathBuf),
    /// A configuration that means nothing.
    #[error("`{field}`: got {got}, expected {expected}")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        got: String,
        /// What it may be.
        expected: &'static str,
    },
    /// Something that can't be kept.
    #[error("row {row}: {problem}")]
    Unrecordable {
        /// The row of the recording that it would have been.
        row: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// Rows other than those that the recording is said to be of.
    #[error(
        "the recording is of the rows {expected}, but these are {got}: give it the same documents, tokenizer, packing and length, or record anew, in another folder"
    )]
    OtherRows {
        /// The key of the rows.
        got: ContentHash,
        /// The key in the recording's provenance.
        expected: ContentHash,
    },
    /// The rows.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The teacher.
    #[error(transparent)]
    Teacher(#[from] ForwardError),
}

impl RecordingError {
    /// Names the file that the system had a problem with.
    pub(super) fn io(file: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            file: file.to_owned(),
            source,
        }
    }

    pub(super) fn damaged(file: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged {
            file: file.to_owned(),
            problem: problem.into(),
        }
    }
}
