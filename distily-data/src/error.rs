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
    /// A text file that is not UTF-8.
    #[error("{file}: not UTF-8 at byte {offset}: convert the file, or name a text file")]
    NotUtf8 {
        /// The file.
        file: PathBuf,
        /// The first byte that is not.
        offset: usize,
    },
    /// No text.
    #[error("{file}: {problem}")]
    Empty {
        /// The file.
        file: PathBuf,
        /// What is missing.
        problem: &'static str,
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
