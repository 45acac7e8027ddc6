use anyhow::{Context, Result};
use distily::TrainingConfig;
use distily::data::{Codec, CorpusConfig, Packing};
use distily::hub::{Hub, RepoKind};
use distily::models::{Inheritance, Precision, StoredAs, StudentConfig};
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

/// Who teaches.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a teacher is a folder or the id of a model on the hub, or { recording = \"FOLDER\", model = \"that of the recording\" }"
)]
pub enum TeacherConfig {
    /// A Hugging Face folder, or the id of a model on the hub.
    Model(String),
    /// What was recorded of one.
    Recorded(RecordedTeacher),
}

/// What the example `record` wrote down of a model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedTeacher {
    /// The recording's folder.
    pub recording: PathBuf,
    /// The model, whose tokenizer and configuration are read, but no weights.
    pub model: String,
    /// What is kept of each token.
    #[serde(default = "top_64")]
    pub keep: Codec,
    /// The layers (from 0) whose hidden states are kept, for an objective that compares them.
    #[serde(default)]
    pub hidden_layers: Vec<usize>,
}

fn top_64() -> Codec {
    Codec::TopK { k: 64, p: 1.0 }
}

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
        Ok(config)
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

impl TeacherConfig {
    /// The folder with the teacher's tokenizer and configuration; with its weights, if it is no
    /// recording.
    ///
    /// # Errors
    ///
    /// Where there is no such model.
    pub fn folder(&self) -> Result<PathBuf> {
        const TEXTS: [&str; 4] = [
            "config.json",
            "generation_config*.json",
            "tokenizer*.json",
            "chat_template*",
        ];
        let hub = Hub::from_env();
        Ok(match self {
            Self::Model(name) => hub.model(name)?,
            Self::Recorded(of) => hub.resolve(RepoKind::Model, &of.model, &TEXTS)?,
        })
    }
}

impl Student {
    /// Whether it says one thing about where the student comes from.
    fn check(&self) -> Result<()> {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device;
    use distily::core::{ModelShape, Seed};

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

    #[test]
    fn a_teacher_is_a_model_or_a_recording() {
        let of =
            |text: &str| toml::from_str::<std::collections::BTreeMap<String, TeacherConfig>>(text);
        let recorded = of(r#"teacher = { recording = "a", model = "b" }"#).unwrap();
        assert!(matches!(recorded["teacher"], TeacherConfig::Recorded(_)));
        assert!(matches!(
            of(r#"teacher = "b""#).unwrap()["teacher"],
            TeacherConfig::Model(_)
        ));
        for wrong in [
            r#"teacher = { recording = "a" }"#,
            r#"teacher = { recording = "a", model = "b", k = 1 }"#,
        ] {
            let problem = of(wrong).unwrap_err().to_string();
            assert!(problem.contains("that of the recording"), "{problem}");
        }
    }
}
