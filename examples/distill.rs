//! Distils what a TOML file says: teacher, student, data, objective, training, evaluation.
//!
//! ```sh
//! cargo run --release --example distill -- examples/configs/smollm2-half.toml
//! ```
#![allow(clippy::print_stdout)]

use anyhow::{Context, Result};
use burn::module::Module;
use clap::Parser;
use distily::core::{LanguageModel, LiveTeacher, Seed};
use distily::data::{
    ChatTemplate, Columns, CorpusConfig, DocumentEncoder, DocumentSource, Packing, SourceConfig,
    TextTokenizer, TokenCache, TokenRows,
};
use distily::hub::Hub;
use distily::kernels::TrainingAllocator;
use distily::models::{
    Decoder, DecoderConfig, Inheritance, Precision, StoredAs, StudentConfig, freeze,
};
use distily::objectives::ObjectiveConfig;
use distily::{Trainer, TrainingConfig};
use distily_examples::{compare, device, measure, train};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

/// Distils what a TOML file says.
#[derive(Parser)]
struct Arguments {
    /// The configuration.
    config: PathBuf,
    /// The teacher's folder or hub id, instead of the configuration's.
    #[arg(long)]
    teacher: Option<String>,
    /// The folder of the data's files, which the configuration names relative to it.
    #[arg(long, default_value = ".")]
    data: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// A Hugging Face folder, or the id of a model on the hub.
    teacher: String,
    /// What the teacher's weights are kept as.
    #[serde(default)]
    teacher_precision: Precision,
    /// Where the student goes.
    output: PathBuf,
    student: Student,
    data: Data,
    #[serde(default)]
    objective: ObjectiveConfig,
    #[serde(default)]
    training: TrainingConfig,
    #[serde(default)]
    evaluation: Evaluation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Student {
    /// A model to go on from: a folder or a hub id.
    model: Option<String>,
    /// A folder with the `config.json` of a student; weights that it does not inherit are random.
    config: Option<PathBuf>,
    /// Changes to the teacher's configuration, where neither is said.
    #[serde(default)]
    shape: StudentConfig,
    #[serde(default)]
    inherit: Inheritance,
    /// Patterns of the parameters that stay as they are.
    #[serde(default)]
    freeze: Vec<String>,
    #[serde(default)]
    stored_as: StoredAs,
}

impl Student {
    /// Whether it says one thing about where the student comes from.
    fn check(&self) -> Result<()> {
        let shaped = self.shape != StudentConfig::default();
        let inherits = self.inherit != Inheritance::default();
        anyhow::ensure!(
            self.model.is_none() || !(self.config.is_some() || shaped || inherits),
            "`student.model` is a whole model: say neither `config`, `shape` nor `inherit` beside it"
        );
        anyhow::ensure!(
            self.config.is_none() || !shaped,
            "`student.config` is a whole shape: say no `shape` beside it"
        );
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    source: CorpusConfig,
    /// Tokens in a row.
    length: usize,
    #[serde(default)]
    packing: Packing,
    /// Where tokens are kept from one run to the next.
    #[serde(default = "cache")]
    cache: PathBuf,
}

fn cache() -> PathBuf {
    "runs/tokens".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Evaluation {
    /// Held-out tokens to measure on.
    tokens: usize,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self { tokens: 16_384 }
    }
}

/// Tokens that a norm of the teacher's hidden states is calibrated with, for each column of them.
const CALIBRATION: usize = 8;

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let file = arguments.config.display().to_string();
    let text = std::fs::read_to_string(&arguments.config).context(file.clone())?;
    let config: Config = toml::from_str(&text).context(file)?;
    // Whatever can be wrong is looked at before hours are spent.
    config.training.check()?;
    config.student.check()?;
    std::fs::create_dir_all(&config.output)
        .with_context(|| format!("the output {}", config.output.display()))?;
    let device = device();

    let folder = Hub::from_env().model(arguments.teacher.as_deref().unwrap_or(&config.teacher))?;
    let teacher = Decoder::load_frozen(&folder, config.teacher_precision, &device)?;
    let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;
    tokenizer.check_vocabulary(teacher.shape().vocabulary)?;

    let seed = Seed(config.training.seed);
    let student = &config.student;
    let autodiff = device.clone().autodiff();
    let model = match (&student.model, &student.config) {
        (Some(name), _) => Decoder::load(&Hub::from_env().model(name)?, &autodiff)?,
        (None, from) => {
            let shape = match from {
                Some(folder) => DecoderConfig::load(folder)?,
                None => student.shape.of(teacher.config())?,
            };
            Decoder::student(&shape, &teacher, &student.inherit, seed, &autodiff)?
        }
    };
    let model = freeze(model, &student.freeze)?;
    let objective = config.objective;
    let objective = objective.build(&model.shape(), &teacher.shape(), seed, &autodiff)?;

    let source = &config.data.source;
    let corpus = source.open(&Hub::from_env(), &arguments.data)?;
    let chat = |source: &SourceConfig| matches!(source.columns, Columns::Chat { .. });
    let chats = source.train.iter().chain(&source.held_out).any(chat);
    let encoder = DocumentEncoder {
        end_of_text: teacher.config().end_of_text.first().copied(),
        chat_template: chats.then(|| ChatTemplate::load(&folder)).transpose()?,
        ..DocumentEncoder::new(tokenizer)
    };
    let cache = TokenCache::new(&config.data.cache);
    let rows = |documents: &dyn DocumentSource| -> Result<TokenRows> {
        let tokens = cache.tokens(documents, &encoder)?;
        Ok(TokenRows::pack(
            tokens,
            config.data.packing,
            config.data.length,
        )?)
    };
    let train_rows = rows(&corpus.train())?;
    let held_out = rows(&corpus.held_out())?.limited_to(config.evaluation.tokens);

    let live = LiveTeacher::new(teacher.clone());
    let batches = train_rows.batches(config.training.batch_size);
    let tokens = CALIBRATION * teacher.shape().width;
    let enough = tokens.div_ceil(config.training.batch_size * config.data.length);
    let calibration = batches.after(seed, 0).take(enough);
    let objective = objective.calibrated(&live, calibration.collect::<Result<Vec<_>, _>>()?)?;
    let before = measure(&model.valid(), Some(&teacher), &held_out)?;

    let mut trainer = Trainer::new(model, Arc::new(live), objective, config.training.clone())?;
    let took = train(&mut trainer, &config.training, &train_rows, &held_out)?;
    let model = trainer.into_student();
    model.save(&config.output, student.stored_as)?;
    copy_texts(&folder, &config.output)?;

    let after = measure(&model, Some(&teacher), &held_out)?;
    let teacher = measure(&teacher, None::<&Decoder>, &held_out)?;
    println!(
        "{}\n{} steps in {:.0} s; {} held-out tokens. The student is in {}",
        compare(
            (&teacher, size(&folder)?),
            &before,
            (&after, size(&config.output)?)
        ),
        config.training.steps,
        took.as_secs_f64(),
        held_out.len() * held_out.length(),
        config.output.display()
    );
    Ok(())
}

/// Copies what the student takes over from its teacher as it is: how text becomes tokens, and
/// conversations text.
fn copy_texts(from: &Path, to: &Path) -> Result<()> {
    for name in [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "generation_config.json",
    ] {
        if from.join(name).is_file() {
            std::fs::copy(from.join(name), to.join(name)).context(name)?;
        }
    }
    Ok(())
}

/// Bytes of all weight files of a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "safetensors")
        {
            bytes += std::fs::metadata(entry.path())?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use distily::core::ModelShape;

    #[test]
    fn the_configurations_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let config: Config = toml::from_str(&text)
                .unwrap_or_else(|problem| panic!("{}: {problem}", path.display()));
            let shape = ModelShape {
                vocabulary: 100,
                width: 64,
                layers: 4,
                heads: 4,
                kv_heads: 2,
                head_width: 16,
                ..ModelShape::default()
            };
            let device = device();
            config
                .objective
                .build(&shape, &shape, Seed(1), &device)
                .unwrap();
        }
    }
}
