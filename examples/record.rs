//! Records what a teacher says of the data of a TOML file, into the folder that the file names:
//! `teacher = { recording = "FOLDER", model = "MODEL" }`. It asks the model itself, a server that runs
//! it, or the files of another tool that did. The example `distill` then learns from the recording, by
//! the same file and without the model.
//!
//! ```sh
//! cargo run --release --example record -- examples/configs/smollm2-recorded.toml
//! ```
#![allow(clippy::print_stdout)]

use anyhow::{Context, Result};
use clap::Parser;
use distily::core::{Feature, LanguageModel, LiveTeacher, Objective, Seed, Teacher};
use distily::data::{Provenance, Recorder, Recording, RecordingConfig};
use distily::hub::Hub;
use distily::kernels::TrainingAllocator;
use distily::models::{Decoder, DecoderConfig};
use distily_examples::{Config, RecordedFrom, Rows, TeacherConfig, device, trainer};
use std::path::PathBuf;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

/// Records what a teacher says of the data of a TOML file. Once interrupted, it goes on.
#[derive(Parser)]
struct Arguments {
    /// The configuration.
    config: PathBuf,
    /// The folder of the data's files, which the configuration names relative to it.
    #[arg(long, default_value = ".")]
    data: PathBuf,
}

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let config = Config::read(&arguments.config)?;
    let TeacherConfig::Recorded(recorded) = &config.teacher else {
        anyhow::bail!(
            "the configuration names no recording: `teacher = {{ recording = \"FOLDER\", model = \"MODEL\" }}`"
        );
    };
    let folder = match recorded.from {
        RecordedFrom::Model => Hub::from_env().model(&recorded.model)?,
        RecordedFrom::Server(_) | RecordedFrom::Import(_) => config.teacher.texts()?,
    };
    let teacher_config = DecoderConfig::load(&folder)?;
    let rows = Rows::open(&config, &folder, &teacher_config, &arguments.data)?;
    // Rows of a request to a server, and of a pass through a model.
    let (teacher, batch_size): (Option<Box<dyn Teacher>>, usize) = match &recorded.from {
        RecordedFrom::Model => {
            let model = Decoder::load_frozen(&folder, config.teacher_precision, &device())?;
            (Some(Box::new(LiveTeacher::new(model))), 4)
        }
        RecordedFrom::Server(server) => {
            let token = std::env::var("VLLM_API_KEY").ok();
            let teacher = server.teacher(token.as_deref(), teacher_config.shape(), &device())?;
            (Some(Box::new(teacher)), 32)
        }
        RecordedFrom::Import(_) => (None, 1),
    };

    let seed = Seed(config.training.seed);
    let student = (config.student).build(&teacher_config, None, seed, &device().autodiff())?;
    let (of_student, of_teacher) = (student.shape(), teacher_config.shape());
    let objective = config.objective.clone();
    let objective = objective.build(&of_student, &of_teacher, seed, &student.device())?;
    let (_, taps) = objective.taps(&of_student, &of_teacher)?;
    let compared = (0..of_teacher.layers).filter(|&layer| taps.wants(layer, Feature::Hidden));
    let recording = recorded.recording(&config, (&folder, &teacher_config), &rows, compared)?;

    if let Some(teacher) = &teacher {
        rehearse(&config, &rows, student, &**teacher, recording.clone())
            .context("a student can't learn from the recording that this would be")?;
    }

    let mut recorder = Recorder::open(&recorded.recording, recording)?;
    let begun = recorder.rows();
    let outcome = match (&teacher, &rows.import) {
        (Some(teacher), _) => recorder.record(&**teacher, &rows.train, batch_size),
        (None, Some(import)) => recorder.import(import, &rows.train),
        (None, None) => anyhow::bail!("there is nobody to ask"),
    };
    let folder = recorded.recording.display();
    outcome.with_context(|| format!("{} rows are in {folder}", recorder.rows()))?;
    println!(
        "{} rows of {} tokens, {} of them now, are in {folder}",
        recorder.rows(),
        rows.train.length(),
        recorder.rows() - begun,
    );
    Ok(())
}

/// Records one row elsewhere and takes a training step with it, so that what the objective can't learn
/// from is told before hours are spent.
fn rehearse(
    config: &Config,
    rows: &Rows,
    student: Decoder,
    teacher: &dyn Teacher,
    recording: RecordingConfig,
) -> Result<()> {
    let (folder, first) = (tempfile::tempdir()?, rows.train.clone().limited_to(1));
    let recording = RecordingConfig {
        provenance: Provenance {
            data: first.key(),
            ..recording.provenance
        },
        ..recording
    };
    let expected = recording.provenance.clone();
    Recorder::open(folder.path(), recording)?.record(teacher, &first, 1)?;
    let recording = Recording::open(folder.path(), &expected, &student.device())?;
    let mut trainer = trainer(config, &rows.train, student, Arc::new(recording), teacher)?;
    let batch = first.in_order(1).collect::<Result<Vec<_>, _>>()?;
    trainer.step(&batch)?;
    Ok(())
}
