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
    let device = device();
    // A student inherits weights once; what is recorded is not in memory while it learns.
    let (recorded, weights) = match &config.teacher {
        TeacherConfig::Model(name) => (None, Some(name)),
        TeacherConfig::Recorded(of) => (Some(of), config.student.inherits().then_some(&of.model)),
    };
    let folder = match weights {
        Some(name) => Hub::from_env().model(name)?,
        None => config.teacher.texts()?,
    };
    check_output(&config, &folder)?;
    let teacher_config = DecoderConfig::load(&folder)?;
    config.check_objective(&teacher_config, &device)?;
    let rows = Rows::open(&config, &folder, &teacher_config, &arguments.data)?;
    println!(
        "{} rows of {} tokens to learn from, {} to measure with",
        rows.train.len(),
        rows.train.length(),
        rows.held_out.len()
    );

    let load = || -> Result<Option<Decoder>> {
        let live =
            weights.map(|_| Decoder::load_frozen(&folder, config.teacher_precision, &device));
        Ok(live.transpose()?)
    };
    let mut live = load()?;
    let teacher: Arc<dyn Teacher> = match (recorded, &live) {
        (Some(recorded), _) => {
            Arc::new(recorded.open(&config, (&folder, &teacher_config), &rows, &device)?)
        }
        (None, Some(live)) => Arc::new(LiveTeacher::new(live.clone())),
        (None, None) => anyhow::bail!("nobody teaches"),
    };
    let (student, seed) = (&config.student, Seed(config.training.seed));
    let autodiff = device.clone().autodiff();
    let model = student.build(&teacher_config, live.as_ref(), seed, &autodiff)?;
    let before = measure(&model.valid(), live.as_ref(), &rows.held_out)?;
    if recorded.is_some() {
        live = None;
    }
    let mut trainer = trainer(&config, &rows.train, model, teacher.clone(), &*teacher)?;
    let took = train(&mut trainer, &config.training, &rows.train, &rows.held_out)?;
    let model = trainer.into_student();
    model.save(&config.output, student.stored_as)?;
    copy_texts(&folder, &config.output)?;

    if recorded.is_some() {
        live = load()?;
    }
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

/// Makes the folder of the student, which has to be its own and take files: better now than when it has
/// learnt.
fn check_output(config: &Config, teacher: &Path) -> Result<()> {
    let output = &config.output;
    let named = || format!("`output`, {}", output.display());
    std::fs::create_dir_all(output).with_context(named)?;
    tempfile::tempfile_in(output).with_context(named)?;
    let mut others = vec![("the teacher's", teacher.to_owned())];
    others.extend(
        config
            .student
            .model
            .iter()
            .map(|name| ("the first student's", name.into())),
    );
    if let TeacherConfig::Recorded(recorded) = &config.teacher {
        others.push(("the recording's", recorded.recording.clone()));
    }
    let whole = |path: &Path| path.canonicalize().ok();
    for (whose, other) in others {
        anyhow::ensure!(
            whole(output) != whole(&other),
            "`output` is {whose} folder, {}, whose files the student's would replace: name another",
            output.display()
        );
    }
    if output.join("model.safetensors").exists() {
        tracing::warn!("the model in {} will be replaced", output.display());
    }
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
