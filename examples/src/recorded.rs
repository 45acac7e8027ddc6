use crate::{Config, Rows};
use anyhow::{Context, Result};
use burn::tensor::Device;
use distily::core::Teacher;
use distily::data::{
    Codec, ContentHash, DataError, Import, ImportFormat, Provenance, Recording, RecordingConfig,
    RecordingError, ServerConfig,
};
use distily::models::{DecoderConfig, Precision};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What the example `record` writes down of a model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedTeacher {
    /// The recording's folder.
    pub recording: PathBuf,
    /// The model, whose tokenizer and configuration are read, and to record it its weights.
    pub model: String,
    /// What is kept of each token: the 64 likeliest ids and their tail, if it is not said.
    pub keep: Option<Codec>,
    /// The layers (from 0) whose hidden states are kept beside those that the objective compares.
    #[serde(default)]
    pub hidden_layers: Vec<usize>,
    /// What is recorded.
    #[serde(default)]
    pub from: RecordedFrom,
}

/// Whom the example `record` asks.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedFrom {
    /// The model, here.
    #[default]
    Model,
    /// A server that runs it.
    Server(ServerConfig),
    /// Nobody: another tool kept what it said. What is learnt from are the sequences of these files.
    Import(ImportFrom),
}

/// Files of another tool.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportFrom {
    /// A file or a folder, relative to that of the data.
    path: PathBuf,
    /// Whose files they are: `vllm`, `axolotl`, `trl` or `distill_kit`.
    format: ImportFormat,
    /// What the teacher's logits were divided by.
    #[serde(default = "one")]
    temperature: f64,
}

fn one() -> f64 {
    1.0
}

impl ImportFrom {
    /// Finds the files.
    ///
    /// # Errors
    ///
    /// Where there are none.
    pub fn open(&self, data: &Path) -> Result<Import, DataError> {
        Import::open(data.join(&self.path), self.format)
    }
}

impl RecordedTeacher {
    /// What is kept when it is recorded.
    fn codec(&self) -> Codec {
        self.keep.clone().unwrap_or(Codec::TopK { k: 64, p: 1.0 })
    }

    /// Whether it can be recorded so.
    pub(crate) fn check(&self) -> Result<()> {
        let k = match (&self.from, self.codec()) {
            (RecordedFrom::Model, _) => return Ok(()),
            (_, Codec::TopK { k, .. }) => k,
            (_, other) => anyhow::bail!(
                "`teacher.keep`: got {other:?}, but a server or an import says likely ids alone: use `top_k`"
            ),
        };
        if let RecordedFrom::Server(server) = &self.from {
            let asked = server.k;
            anyhow::ensure!(
                asked >= k,
                "`teacher.from.server.k`: got {asked}, expected the {k} ids that `teacher.keep` keeps, or more"
            );
        }
        Ok(())
    }

    /// The temperature of a recording for the objective.
    fn temperature(&self, config: &Config, codec: &Codec) -> Result<f64> {
        if let Codec::Full = codec {
            return Ok(1.0);
        }
        let wanted = config.recorded_temperature()?;
        let known = match &self.from {
            RecordedFrom::Model => return Ok(wanted),
            RecordedFrom::Server(_) => 1.0,
            RecordedFrom::Import(import) => import.temperature,
        };
        anyhow::ensure!(
            wanted == known,
            "the teacher's probabilities are at temperature {known}, from which those at {wanted} do not follow: give `forward_kl` that temperature"
        );
        Ok(known)
    }

    /// What the recording is of. The teacher is known by its weights where they are here; where they are
    /// not, by what the recording says. One that is not here at all is known by its name.
    ///
    /// # Errors
    ///
    /// Where the objective has several temperatures, or neither weights nor a recording can be read.
    pub fn provenance(
        &self,
        config: &Config,
        folder: &Path,
        rows: &Rows,
        codec: &Codec,
    ) -> Result<Provenance> {
        let teacher = match &self.from {
            RecordedFrom::Server(server) => ContentHash::of("served teacher", [&server.model]),
            RecordedFrom::Import(_) => ContentHash::of("imported teacher", [&self.model]),
            RecordedFrom::Model => match weights(folder, config.teacher_precision)? {
                Some(hash) => hash,
                None => RecordingConfig::read(&self.recording)?.provenance.teacher,
            },
        };
        Ok(Provenance {
            teacher,
            tokenizer: rows.tokenizer,
            data: rows.train.key(),
            temperature: self.temperature(config, codec)?,
        })
    }

    /// What is recorded: of the layers, these and those that were named.
    ///
    /// # Errors
    ///
    /// As [`provenance`](Self::provenance).
    pub fn recording(
        &self,
        config: &Config,
        (folder, teacher): (&Path, &DecoderConfig),
        rows: &Rows,
        layers: impl Iterator<Item = usize>,
    ) -> Result<RecordingConfig> {
        let mut hidden_layers: Vec<usize> = layers.chain(self.hidden_layers.clone()).collect();
        hidden_layers.sort_unstable();
        hidden_layers.dedup();
        let codec = self.codec();
        Ok(RecordingConfig {
            provenance: self.provenance(config, folder, rows, &codec)?,
            shape: teacher.shape(),
            codec,
            hidden_layers,
        })
    }

    /// Opens the recording for a student to learn from.
    ///
    /// # Errors
    ///
    /// Where it is of another model, of other rows, or not of all of them.
    pub fn open(
        &self,
        config: &Config,
        (folder, teacher): (&Path, &DecoderConfig),
        rows: &Rows,
        device: &Device,
    ) -> Result<Recording> {
        let codec = RecordingConfig::read(&self.recording)?.codec;
        if let Some(keep) = self.keep.as_ref().filter(|keep| **keep != codec) {
            anyhow::bail!(
                "the recording keeps {codec:?}, but `teacher.keep` is {keep:?}: say what it keeps, or leave it out"
            );
        }
        let expected = self.provenance(config, folder, rows, &codec)?;
        let recording = match Recording::open(&self.recording, &expected, device) {
            Err(
                problem @ RecordingError::Mismatch {
                    what: "teacher", ..
                },
            ) => {
                return Err(problem).context("the example `record` names a teacher by its weights and their bits, or a server's by its name");
            }
            recording => recording?,
        };
        let (got, named) = (recording.shape(), teacher.shape());
        // Whoever records by the library may know no more of a server's model than its vocabulary.
        let known = got.layers > 0;
        anyhow::ensure!(
            got == named || !known && got.vocabulary == named.vocabulary,
            "the recording is of a model with {got:?}, but `teacher.model` has {named:?}"
        );
        let missing = recording.missing(&rows.train)?;
        anyhow::ensure!(
            missing == 0,
            "{missing} of the {} rows are not recorded: `record` goes on where it ended",
            rows.train.len()
        );
        Ok(recording)
    }
}

/// The hash of a folder's model, kept in so many bits; `None` without weights.
fn weights(folder: &Path, precision: Precision) -> Result<Option<ContentHash>> {
    let files = std::fs::read_dir(folder).and_then(|entries| {
        let files = entries.map(|entry| Ok(entry?.path()));
        files.collect::<std::io::Result<Vec<_>>>()
    });
    let mut files = files.with_context(|| folder.display().to_string())?;
    files.retain(|file| file.extension().is_some_and(|end| end == "safetensors"));
    if files.is_empty() {
        return Ok(None);
    }
    files.sort();
    files.push(folder.join("config.json"));
    let weights = ContentHash::of_files(&files)?;
    // Fewer bits are another teacher.
    let precision = format!("{precision:?}");
    let hash = ContentHash::of("teacher", [weights.as_bytes(), precision.as_bytes()]);
    Ok(Some(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_teacher_of_other_bits_or_weights_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let hash = |precision| weights(folder.path(), precision).unwrap();
        assert_eq!(hash(Precision::default()), None);
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("config.json", "{}").unwrap();
        write("model.safetensors", "1").unwrap();
        let one = hash(Precision::F32);
        assert!(one.is_some() && one != hash(Precision::Int8));
        write("model.safetensors", "2").unwrap();
        assert_ne!(one, hash(Precision::F32));
    }
}
