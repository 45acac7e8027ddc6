use std::path::PathBuf;
use thiserror::Error;

/// Why a model can't be made, read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A field of a configuration is missing, unknown or out of range.
    #[error("{origin}: `{field}`: {problem}")]
    Config {
        /// The file, or what else the configuration came from.
        origin: String,
        /// The field, as the file spells it.
        field: String,
        /// What was got, what was expected and what to do.
        problem: String,
    },
    /// A weight is missing, or not what the configuration says.
    #[error("{file}: tensor `{tensor}`: {problem}")]
    Weights {
        /// The file.
        file: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// What was got, what was expected and what to do.
        problem: String,
    },
    /// A file is not what its name says.
    #[error("{file}: {problem}")]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The disk.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A pattern names no parameter.
    #[error("the pattern `{pattern}` {problem}; parameters are named like {examples}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
        /// A few of the names there are.
        examples: String,
    },
    /// A student can't take over a part of its teacher.
    #[error("the student can't inherit {part}: {problem}")]
    Inherit {
        /// The part.
        part: String,
        /// Why not, and what to do.
        problem: String,
    },
}

impl ModelError {
    pub(crate) fn config(
        origin: impl ToString,
        field: impl ToString,
        problem: impl ToString,
    ) -> Self {
        Self::Config {
            origin: origin.to_string(),
            field: field.to_string(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn file(file: impl Into<PathBuf>, problem: impl ToString) -> Self {
        Self::File {
            file: file.into(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn io(file: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io { file, source }
    }
}
