use distily_hub::HubError;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why text does not become batches.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The disk.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A source of documents that is not there, or has not what is asked of it.
    #[error("`{name}`: {problem}")]
    Source {
        /// Its name in the config.
        name: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A name that is neither a file nor a folder nor a data set that can be had.
    #[error("there is no file or folder `{name}`, and on the hub: {source}")]
    Hub {
        /// The name.
        name: String,
        /// Why there is no such data set either.
        source: HubError,
    },
    /// A file that can't be read as what its name says it is.
    #[error("{file}: {problem}")]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A row that is no document.
    #[error("{file}, row {row}: {problem}")]
    Row {
        /// The file.
        file: PathBuf,
        /// The row, counted from 1 and without the line that names the columns.
        row: u64,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A column that is not there.
    #[error("{file}: has no column `{column}`; it has `{}`: name one of them in `columns`", .has.join("`, `"))]
    Column {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// Those that are there.
        has: Vec<String>,
    },
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
    /// A tokenizer that can't be read, or can't read the text.
    #[error("{file}: {problem}")]
    Tokenizer {
        /// The tokenizer's file.
        file: PathBuf,
        /// What it said.
        problem: String,
    },
    /// A chat template that is not there, can't be read, or refuses a conversation.
    #[error("{file}: {problem}")]
    ChatTemplate {
        /// The template's file, or the folder that has none.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A tokenizer with ids that the model has no embedding for.
    #[error(
        "{file}: has {tokenizer} tokens, but the model's vocabulary is {model}: use the model's own tokenizer"
    )]
    VocabularyTooLarge {
        /// The tokenizer's file.
        file: PathBuf,
        /// The tokenizer's largest id, plus one.
        tokenizer: usize,
        /// The model's vocabulary.
        model: usize,
    },
    /// A file of a token cache that is not what was written.
    #[error("{file}: {problem}: the entry is damaged; remove its folder, and it is made anew")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where in the file.
        problem: String,
    },
}

impl DataError {
    /// Names the file that the system had a problem with.
    pub(crate) fn io(file: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            file: file.to_owned(),
            source,
        }
    }
}
