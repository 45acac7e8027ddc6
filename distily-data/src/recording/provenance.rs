use super::manifest::Manifest;
use super::{Codec, RecordingError};
use crate::ContentHash;
use distily_core::ModelShape;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a recording is of. Whoever reads one says what it should be, and gets nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The teacher's weights: see [`ContentHash::of_files`].
    pub teacher: ContentHash,
    /// The tokenizer: see [`TextTokenizer::hash`](crate::TextTokenizer::hash).
    pub tokenizer: ContentHash,
    /// The rows: see [`TokenRows::key`](crate::TokenRows::key).
    pub data: ContentHash,
    /// What the teacher's logits were divided by; a loss has to use the same.
    pub temperature: f64,
}

impl Provenance {
    /// Refuses a recording, which is of this, where something else was expected.
    pub(super) fn check(&self, expected: &Self, folder: &Path) -> Result<(), RecordingError> {
        let hash = |hash: ContentHash| hash.to_string();
        let differences = [
            (
                self.teacher != expected.teacher,
                "teacher",
                hash(self.teacher),
                hash(expected.teacher),
            ),
            (
                self.tokenizer != expected.tokenizer,
                "tokenizer",
                hash(self.tokenizer),
                hash(expected.tokenizer),
            ),
            (
                self.data != expected.data,
                "data (documents, tokenizer, packing, length)",
                hash(self.data),
                hash(expected.data),
            ),
            (
                self.temperature != expected.temperature,
                "temperature",
                self.temperature.to_string(),
                expected.temperature.to_string(),
            ),
        ];
        match differences.into_iter().find(|(differs, ..)| *differs) {
            None => Ok(()),
            Some((_, what, got, expected)) => Err(RecordingError::Mismatch {
                folder: folder.to_owned(),
                what,
                got,
                expected,
            }),
        }
    }
}

/// What is recorded, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingConfig {
    /// What it is of.
    pub provenance: Provenance,
    /// The teacher's sizes.
    pub shape: ModelShape,
    /// What is kept of the distributions.
    pub codec: Codec,
    /// The layers (from 0) whose hidden states are kept, as f16; they rise.
    pub hidden_layers: Vec<usize>,
}

impl RecordingConfig {
    /// What the recording in a folder says that it is: for those who can't know all that they expect of its
    /// [`Provenance`], such as the hash of weights that are elsewhere.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Missing`], [`RecordingError::Format`], [`RecordingError::Damaged`],
    /// [`RecordingError::Io`].
    pub fn read(folder: &Path) -> Result<Self, RecordingError> {
        Ok(Manifest::existing(folder)?.recording)
    }

    pub(super) fn check(&self) -> Result<(), RecordingError> {
        self.codec.check(self.provenance.temperature)?;
        let vocabulary = self.shape.vocabulary;
        if vocabulary == 0 || vocabulary > 1 << 31 {
            return Err(RecordingError::Config {
                field: "shape.vocabulary",
                got: vocabulary.to_string(),
                expected: "1 to 2^31",
            });
        }
        let rise = self.hidden_layers.windows(2).all(|two| two[0] < two[1]);
        let there = |&layer: &usize| layer < self.shape.layers;
        let wide = self.hidden_layers.is_empty() || self.shape.width > 0;
        if !wide || !rise || !self.hidden_layers.iter().all(there) {
            return Err(RecordingError::Config {
                field: "hidden_layers",
                got: format!("{:?}", self.hidden_layers),
                expected: "layers of a teacher that has a width, counted from 0, that rise",
            });
        }
        Ok(())
    }
}
