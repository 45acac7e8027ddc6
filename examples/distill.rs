//! Distils what a TOML file says: teacher, student, data, objective, training, evaluation.
//!
//! ```sh
//! cargo run --release --example distill -- examples/configs/smollm2-half.toml
//! ```
#![allow(clippy::print_stdout)]

use anyhow::{Context, Result};
use burn::module::Module;
use clap::Parser;
use distily::Trainer;
use distily::core::{LanguageModel, LiveTeacher, Seed, Teacher};
use distily::data::{Provenance, Recording};
use distily::hub::Hub;
use distily::kernels::TrainingAllocator;
use distily::models::{Decoder, DecoderConfig, freeze};
use distily_examples::{
    Config, RecordedTeacher, Rows, TeacherConfig, compare, device, measure, train,
};
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

/// Tokens that a norm of the teacher's hidden states is calibrated with, for each column of them.
const CALIBRATION: usize = 8;

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let mut config = Config::read(&arguments.config)?;
    if let Some(teacher) = arguments.teacher {
        config.teacher = TeacherConfig::Model(teacher);
    }
    std::fs::create_dir_all(&config.output)
        .with_context(|| format!("the output {}", config.output.display()))?;
    let device = device();

    let folder = config.teacher.folder()?;
    let teacher_config = DecoderConfig::load(&folder)?;
    let rows = Rows::open(&config, &folder, &teacher_config, &arguments.data)?;
    let Rows {
        train: train_rows,
        held_out,
        ..
    } = &rows;
    let (teacher, live): (Arc<dyn Teacher>, Option<Decoder>) = match &config.teacher {
        TeacherConfig::Model(_) => {
            let live = Decoder::load_frozen(&folder, config.teacher_precision, &device)?;
            (Arc::new(LiveTeacher::new(live.clone())), Some(live))
        }
        TeacherConfig::Recorded(RecordedTeacher { recording, .. }) => {
            let expected = Provenance {
                tokenizer: rows.tokenizer,
                data: train_rows.key(),
                temperature: config.recorded_temperature()?,
                ..Provenance::read(recording)?
            };
            let recording = Recording::open(recording, &expected, &device)?;
            let (recorded, named) = (recording.shape(), teacher_config.shape());
            // Of a teacher behind a server no more is known than its vocabulary.
            let known = recorded.layers > 0;
            anyhow::ensure!(
                recorded == named || !known && recorded.vocabulary == named.vocabulary,
                "the recording is of a model with {recorded:?}, but `teacher.model` has {named:?}"
            );
            let missing = recording.missing(train_rows)?;
            anyhow::ensure!(
                missing == 0,
                "{missing} of the {} rows are not recorded: `record` goes on where it ended",
                train_rows.len()
            );
            (Arc::new(recording), None)
        }
    };

    let seed = Seed(config.training.seed);
    let student = &config.student;
    let autodiff = device.clone().autodiff();
    let model = match (&student.model, &student.config) {
        (Some(name), _) => Decoder::load(&Hub::from_env().model(name)?, &autodiff)?,
        (None, from) => {
            let shape = match from {
                Some(folder) => DecoderConfig::load(folder)?,
                None => student.shape.of(&teacher_config)?,
            };
            match &live {
                Some(live) => Decoder::student(&shape, live, &student.inherit, seed, &autodiff)?,
                None if student.inherits() => {
                    anyhow::bail!("a recording has no weights: leave `student.inherit` out")
                }
                None => Decoder::random(&shape, seed, &autodiff)?,
            }
        }
    };
    let model = freeze(model, &student.freeze)?
        .with_gradient_checkpointing(student.gradient_checkpointing.iter().copied())?;
    let objective = config.objective;
    let objective = objective.build(&model.shape(), &teacher.shape(), seed, &autodiff)?;

    let batches = train_rows.batches(config.training.batch_size);
    let tokens = CALIBRATION * teacher.shape().width;
    let enough = tokens.div_ceil(config.training.batch_size * config.data.length);
    let calibration = batches.after(seed, 0).take(enough);
    let calibration = calibration.collect::<Result<Vec<_>, _>>()?;
    let objective = objective.calibrated(&*teacher, calibration)?;
    let before = measure(&model.valid(), live.as_ref(), held_out)?;

    let mut trainer = Trainer::new(model, teacher, objective, config.training.clone())?;
    let took = train(&mut trainer, &config.training, train_rows, held_out)?;
    let model = trainer.into_student();
    model.save(&config.output, student.stored_as)?;
    copy_texts(&folder, &config.output)?;

    let after = measure(&model, live.as_ref(), held_out)?;
    let teacher = match &live {
        Some(live) => Some((measure(live, None::<&Decoder>, held_out)?, size(&folder)?)),
        None => None,
    };
    println!(
        "{}\n{} steps in {:.0} s; {} held-out tokens. The student is in {}",
        compare(
            teacher.as_ref().map(|(measured, size)| (measured, *size)),
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
