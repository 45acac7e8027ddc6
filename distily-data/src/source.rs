use crate::DataError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Documents to train on, and others to measure with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// To train on.
    pub train: Vec<String>,
    /// Never trained on.
    pub held_out: Vec<String>,
}

/// Text files, as a config names them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSource {
    /// A UTF-8 text file to train on.
    pub train: PathBuf,
    /// One to measure with; without it, documents of `train` are held out.
    #[serde(default)]
    pub held_out: Option<PathBuf>,
    /// What separates documents; without it, a file is one document.
    #[serde(default)]
    pub document_separator: Option<String>,
    /// The share of the documents of `train` to hold out where there is no file for that.
    #[serde(default = "one_percent")]
    pub held_out_fraction: f64,
}

fn one_percent() -> f64 {
    0.01
}

impl TextSource {
    /// A file to train on, with the other settings at their defaults.
    pub fn new(train: impl Into<PathBuf>) -> Self {
        Self {
            train: train.into(),
            held_out: None,
            document_separator: None,
            held_out_fraction: one_percent(),
        }
    }

    /// Reads the documents. A document is held out by the hash of its text, so that copies of it
    /// are too: what is measured was never trained on. Where files are apart, training documents
    /// that are held out as well are dropped, with a warning.
    ///
    /// # Errors
    ///
    /// [`DataError`], naming the file.
    pub fn read(&self) -> Result<Documents, DataError> {
        let documents = self.documents_of(&self.train)?;
        let (train, held_out): (Vec<_>, Vec<_>) = match &self.held_out {
            Some(file) => {
                let held_out = self.documents_of(file)?;
                let known: std::collections::HashSet<&str> =
                    held_out.iter().map(|text| text.trim()).collect();
                let before = documents.len();
                let train: Vec<String> = documents
                    .into_iter()
                    .filter(|text| !known.contains(text.trim()))
                    .collect();
                if train.len() < before {
                    let dropped = before - train.len();
                    tracing::warn!(
                        dropped,
                        "dropped training documents that are held out as well"
                    );
                }
                (train, held_out)
            }
            None => {
                if !(0.0..1.0).contains(&self.held_out_fraction) {
                    return Err(DataError::Config {
                        field: "held_out_fraction",
                        got: self.held_out_fraction.to_string(),
                        expected: "0 or more, and less than 1",
                    });
                }
                documents
                    .into_iter()
                    .partition(|text| share_of(text) >= self.held_out_fraction)
            }
        };
        let empty = |file: &Path, problem| {
            let file = file.to_owned();
            Err(DataError::Empty { file, problem })
        };
        if train.is_empty() {
            return empty(&self.train, "no document is left to train on");
        }
        if held_out.is_empty() && (self.held_out.is_some() || self.held_out_fraction > 0.0) {
            return empty(
                &self.train,
                "no document is held out: give `document_separator`, a larger `held_out_fraction`, or a `held_out` file",
            );
        }
        Ok(Documents { train, held_out })
    }

    fn documents_of(&self, file: &Path) -> Result<Vec<String>, DataError> {
        let bytes = std::fs::read(file).map_err(|source| DataError::Io {
            file: file.to_owned(),
            source,
        })?;
        let mut text = String::from_utf8(bytes).map_err(|error| DataError::NotUtf8 {
            file: file.to_owned(),
            offset: error.utf8_error().valid_up_to(),
        })?;
        // A separator is found, and a copy known for one, whatever ends the lines.
        if text.contains('\r') {
            text = text.replace("\r\n", "\n");
        }
        if let Some(separator) = &self.document_separator
            && !separator.is_empty()
            && !text.contains(separator.as_str())
        {
            tracing::warn!(file = %file.display(), ?separator, "the separator occurs nowhere: one document");
        }
        let documents: Vec<String> = match self.document_separator.as_deref() {
            Some("") => {
                return Err(DataError::Config {
                    field: "document_separator",
                    got: "an empty string".to_owned(),
                    expected: "a string that separates documents",
                });
            }
            Some(separator) => text
                .split(separator)
                .filter(|document| !document.trim().is_empty())
                .map(str::to_owned)
                .collect(),
            None if text.trim().is_empty() => Vec::new(),
            None => vec![text],
        };
        if documents.is_empty() {
            return Err(DataError::Empty {
                file: file.to_owned(),
                problem: "has no text",
            });
        }
        Ok(documents)
    }
}

/// Where a text falls between 0 and 1, by its content alone, the space around it aside.
fn share_of(text: &str) -> f64 {
    let hash = blake3::hash(text.trim().as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().expect("32 bytes");
    u64::from_le_bytes(*first) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> (tempfile::TempDir, TextSource) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("text.txt");
        std::fs::write(&file, text).unwrap();
        let source = TextSource {
            document_separator: Some("\n".to_owned()),
            held_out_fraction: 0.3,
            ..TextSource::new(file)
        };
        (folder, source)
    }

    #[test]
    fn copies_of_a_document_are_on_one_side() {
        let text: String = (0..200).map(|i| format!("story {}\n", i % 50)).collect();
        let (_folder, source) = source(&text);
        let documents = source.read().unwrap();
        assert_eq!(documents.train.len() + documents.held_out.len(), 200);
        assert!(
            documents
                .held_out
                .iter()
                .all(|text| !documents.train.contains(text))
        );
        assert!(documents.held_out.len() > 20 && documents.train.len() > 100);
        assert_eq!(documents, source.read().unwrap());
    }

    #[test]
    fn an_empty_corpus_names_its_file() {
        let (_folder, source) = source(" \n ");
        let error = source.read().unwrap_err().to_string();
        assert!(error.ends_with("text.txt: has no text"), "{error}");
    }

    #[test]
    fn one_document_can_not_be_split() {
        let (_folder, source) = source("only one");
        let error = source.read().unwrap_err().to_string();
        assert!(error.contains("text.txt: no document is"), "{error}");
    }

    #[test]
    fn what_is_not_text_names_the_byte() {
        let (_folder, source) = source("");
        std::fs::write(&source.train, b"abc\xff").unwrap();
        let error = source.read().unwrap_err().to_string();
        assert!(error.contains("not UTF-8 at byte 3"), "{error}");
    }
}
