//! Distils what a TOML file says: teacher, student, data, objective, training, evaluation.
//!
//! ```sh
//! cargo run --release --example distill -- examples/configs/smollm2-half.toml
//! ```
#![allow(clippy::print_stdout)]

use anyhow::{Context, Result};
use burn::module::Module;
use clap::Parser;
use distily::core::{LiveTeacher, Seed, Teacher};
use distily::data::Recording;
use distily::hub::Hub;
use distily::kernels::TrainingAllocator;
use distily::models::{Decoder, DecoderConfig};
use distily_examples::{Config, Rows, TeacherConfig, compare, device, measure, train, trainer};
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

    let folder = match &config.teacher {
        TeacherConfig::Model(name) => Hub::from_env().model(name)?,
        TeacherConfig::Recorded(_) => config.teacher.texts()?,
    };
    let teacher_config = DecoderConfig::load(&folder)?;
    let rows = Rows::open(&config, &folder, &teacher_config, &arguments.data)?;
    let (teacher, live): (Arc<dyn Teacher>, Option<Decoder>) = match &config.teacher {
        TeacherConfig::Model(_) => {
            let live = Decoder::load_frozen(&folder, config.teacher_precision, &device)?;
            (Arc::new(LiveTeacher::new(live.clone())), Some(live))
        }
        TeacherConfig::Recorded(recorded) => {
            let expected = recorded.provenance(&config, &folder, &rows)?;
            let recording = Recording::open(&recorded.recording, &expected, &device)?;
            let (got, named) = (recording.shape(), teacher_config.shape());
            anyhow::ensure!(
                got == named,
                "the recording is of a model with {got:?}, but `teacher.model` has {named:?}"
            );
            let missing = recording.missing(&rows.train)?;
            anyhow::ensure!(
                missing == 0,
                "{missing} of the {} rows are not recorded: `record` goes on where it ended",
                rows.train.len()
            );
            (Arc::new(recording), None)
        }
    };

    let (student, seed) = (&config.student, Seed(config.training.seed));
    let autodiff = device.autodiff();
    let model = student.build(&teacher_config, live.as_ref(), seed, &autodiff)?;
    let before = measure(&model.valid(), live.as_ref(), &rows.held_out)?;
    let mut trainer = trainer(&config, &rows.train, model, teacher.clone(), &*teacher)?;
    let took = train(&mut trainer, &config.training, &rows.train, &rows.held_out)?;
    let model = trainer.into_student();
    model.save(&config.output, student.stored_as)?;
    copy_texts(&folder, &config.output)?;

    let held_out = &rows.held_out;
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
