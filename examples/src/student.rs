use anyhow::Result;
use burn::tensor::Device;
use distily::core::Seed;
use distily::hub::Hub;
use distily::models::{Decoder, DecoderConfig, Inheritance, StoredAs, StudentConfig, freeze};
use serde::Deserialize;
use std::path::PathBuf;

/// Where the student comes from, and how it is kept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Student {
    /// A model to go on from: a folder or a hub id.
    pub model: Option<String>,
    /// A folder with the `config.json` of a student; weights that it does not inherit are random.
    pub config: Option<PathBuf>,
    /// Changes to the teacher's configuration, where neither is said.
    #[serde(default)]
    pub shape: StudentConfig,
    /// What it takes over from the teacher.
    #[serde(default)]
    pub inherit: Inheritance,
    /// Patterns of the parameters that stay as they are.
    #[serde(default)]
    pub freeze: Vec<String>,
    /// The layers (from 0) that run again going backward, to hold less memory.
    #[serde(default)]
    pub gradient_checkpointing: Vec<usize>,
    /// What its weights are written as.
    #[serde(default)]
    pub stored_as: StoredAs,
}

impl Student {
    /// Whether it says one thing about where the student comes from.
    pub(crate) fn check(&self) -> Result<()> {
        let shaped = self.shape != StudentConfig::default();
        anyhow::ensure!(
            self.model.is_none() || !(self.config.is_some() || shaped || self.inherits()),
            "`student.model` is a whole model: say neither `config`, `shape` nor `inherit` beside it"
        );
        anyhow::ensure!(
            self.config.is_none() || !shaped,
            "`student.config` is a whole shape: say no `shape` beside it"
        );
        Ok(())
    }

    /// Whether it takes something over from the teacher.
    pub fn inherits(&self) -> bool {
        self.inherit != Inheritance::default()
    }

    /// Its configuration, as its teacher's says.
    ///
    /// # Errors
    ///
    /// Where there is no such model or shape.
    pub fn shape(&self, teacher: &DecoderConfig) -> Result<DecoderConfig> {
        Ok(match (&self.model, &self.config) {
            (Some(name), _) => DecoderConfig::load(&Hub::from_env().model(name)?)?,
            (None, Some(folder)) => DecoderConfig::load(folder)?,
            (None, None) => self.shape.of(teacher)?,
        })
    }

    /// The student as it is before it learns, with the weights of its teacher that it takes over.
    ///
    /// # Errors
    ///
    /// Where there is no such model or shape, or the teacher has not what the student inherits.
    pub fn build(
        &self,
        teacher: &DecoderConfig,
        live: Option<&Decoder>,
        seed: Seed,
        device: &Device,
    ) -> Result<Decoder> {
        let model = match (&self.model, live) {
            (Some(name), _) => Decoder::load(&Hub::from_env().model(name)?, device)?,
            (None, Some(live)) => {
                Decoder::student(&self.shape(teacher)?, live, &self.inherit, seed, device)?
            }
            (None, None) => Decoder::random(&self.shape(teacher)?, seed, device)?,
        };
        let again = self.gradient_checkpointing.iter().copied();
        Ok(freeze(model, &self.freeze)?.with_gradient_checkpointing(again)?)
    }
}
