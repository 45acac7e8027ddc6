use crate::{Student, TeacherConfig};
use anyhow::{Context, Result};
use burn::tensor::Device;
use distily::TrainingConfig;
use distily::core::Seed;
use distily::data::{CorpusConfig, Packing};
use distily::models::{DecoderConfig, Precision};
use distily::objectives::{LossConfig, ObjectiveConfig};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What a TOML file says of a distillation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The teacher.
    pub teacher: TeacherConfig,
    /// What the teacher's weights are kept as.
    #[serde(default)]
    pub teacher_precision: Precision,
    /// Where the student goes.
    pub output: PathBuf,
    /// The student.
    pub student: Student,
    /// What it learns from.
    pub data: Data,
    /// What it learns.
    #[serde(default)]
    pub objective: ObjectiveConfig,
    /// How.
    #[serde(default)]
    pub training: TrainingConfig,
    /// How it is measured.
    #[serde(default)]
    pub evaluation: Evaluation,
}

/// Documents, and how they become rows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The documents.
    pub source: CorpusConfig,
    /// Tokens in a row.
    pub length: usize,
    /// How documents share rows.
    #[serde(default)]
    pub packing: Packing,
    /// Where tokens are kept from one run to the next.
    #[serde(default = "cache")]
    pub cache: PathBuf,
}

fn cache() -> PathBuf {
    "runs/tokens".into()
}

/// How the student is measured.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluation {
    /// Held-out tokens to measure on.
    pub tokens: usize,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self { tokens: 16_384 }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Where it says something else than a distillation, or what contradicts itself.
    pub fn read(file: &Path) -> Result<Self> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).context(name.clone())?;
        let config: Self = toml::from_str(&text).context(name)?;
        // Whatever can be wrong is looked at before hours are spent.
        config.training.check()?;
        config.student.check()?;
        let (train, import) = (&config.data.source.train, config.teacher.import());
        anyhow::ensure!(
            import.is_none() || train.is_empty(),
            "what is imported is what is learnt from: name `data.source.held_out` alone"
        );
        anyhow::ensure!(
            import.is_none() || !config.data.source.held_out.is_empty(),
            "`data.source.held_out` names nothing to measure with"
        );
        if let TeacherConfig::Recorded(recorded) = &config.teacher {
            recorded.check()?;
        }
        anyhow::ensure!(
            import.is_some() || !train.is_empty(),
            "`data.source.train` names nothing to learn from"
        );
        Ok(config)
    }

    /// Whether the objective fits teacher and student.
    ///
    /// # Errors
    ///
    /// Where it does not, or there is no such student.
    pub fn check_objective(&self, teacher: &DecoderConfig, device: &Device) -> Result<()> {
        let (student, teacher) = (self.student.shape(teacher)?.shape(), teacher.shape());
        let objective = self.objective.clone();
        objective.build(&student, &teacher, Seed(self.training.seed), device)?;
        Ok(())
    }

    /// The temperature that a recording for the objective has to be of: the forward KL is what learns
    /// from likely ids.
    ///
    /// # Errors
    ///
    /// Where its terms have several.
    pub fn recorded_temperature(&self) -> Result<f64> {
        let terms = self.objective.terms.iter();
        let soft = terms.filter(|term| matches!(term.loss, LossConfig::ForwardKl));
        let mut temperatures = soft.map(|term| term.temperature.unwrap_or(1.0));
        let first = temperatures.next().unwrap_or(1.0);
        anyhow::ensure!(
            temperatures.all(|temperature| temperature == first),
            "a recording is of one temperature: give all `forward_kl` terms the same"
        );
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device;
    use distily::core::ModelShape;

    #[test]
    fn the_configurations_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let config = Config::read(&path).unwrap_or_else(|problem| panic!("{problem:?}"));
            config.recorded_temperature().unwrap();
            let shape = ModelShape {
                vocabulary: 100,
                width: 64,
                layers: 4,
                heads: 4,
                kv_heads: 2,
                head_width: 16,
                ..ModelShape::default()
            };
            let objective = config.objective;
            objective.build(&shape, &shape, Seed(1), &device()).unwrap();
        }
    }
}
