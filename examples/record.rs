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
use burn::tensor::Device;
use clap::Parser;
use distily::core::{
    Answer, Feature, ForwardError, LanguageModel, LiveTeacher, ModelShape, Objective, Seed, Taps,
    Teacher, TokenBatch,
};
use distily::data::{
    Import, Provenance, Recorder, Recording, RecordingConfig, RecordingError, TokenRows,
};
use distily::hub::Hub;
use distily::kernels::TrainingAllocator;
use distily::models::{Decoder, DecoderConfig};
use distily_examples::{Config, RecordedFrom, Rows, TeacherConfig, device, trainer};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
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
    /// Records nothing, but compares all bytes of the recording with their hashes.
    #[arg(long)]
    verify: bool,
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
    if arguments.verify {
        return verify(&recorded.recording);
    }
    let folder = match recorded.from {
        RecordedFrom::Model => Hub::from_env().model(&recorded.model)?,
        RecordedFrom::Server(_) | RecordedFrom::Import(_) => config.teacher.texts()?,
    };
    let teacher_config = DecoderConfig::load(&folder)?;
    config.check_objective(&teacher_config, &device())?;
    let rows = Rows::open(&config, &folder, &teacher_config, &arguments.data)?;
    let said = match &recorded.from {
        RecordedFrom::Model => {
            let model = Decoder::load_frozen(&folder, config.teacher_precision, &device())?;
            Said::By(Box::new(LiveTeacher::new(model)), 4)
        }
        RecordedFrom::Server(server) => {
            let token = std::env::var("VLLM_API_KEY").ok();
            let teacher = server.teacher(token.as_deref(), teacher_config.shape(), &device())?;
            Said::By(Box::new(teacher), 32)
        }
        RecordedFrom::Import(_) => Said::In(rows.import.clone().context("nothing is imported")?),
    };

    // What it inherits makes no difference to what it can learn from.
    let seed = Seed(config.training.seed);
    let student = (config.student).build(&teacher_config, None, seed, &device().autodiff())?;
    let (of_student, of_teacher) = (student.shape(), teacher_config.shape());
    let objective = config.objective.clone();
    let objective = objective.build(&of_student, &of_teacher, seed, &student.device())?;
    let (_, taps) = objective.taps(&of_student, &of_teacher)?;
    let compared = (0..of_teacher.layers).filter(|&layer| taps.wants(layer, Feature::Hidden));
    let recording = recorded.recording(&config, (&folder, &teacher_config), &rows, compared)?;
    rehearse(&config, &rows, student, &said, recording.clone())?;

    let mut recorder = Recorder::open(&recorded.recording, recording)?;
    let begun = recorder.rows();
    let folder = recorded.recording.display();
    said.record(&mut recorder, &rows.train)
        .with_context(|| format!("{} rows are in {folder}", recorder.rows()))?;
    println!(
        "{} rows of {} tokens, {} of them now, are in {folder}",
        recorder.rows(),
        rows.train.length(),
        recorder.rows() - begun,
    );
    Ok(())
}

fn verify(folder: &Path) -> Result<()> {
    let said = RecordingConfig::read(folder)?.provenance;
    let recording = Recording::open(folder, &said, &device())?;
    recording.verify()?;
    println!(
        "{} different rows are as they were written",
        recording.rows()
    );
    Ok(())
}

/// Where what is recorded comes from.
enum Said {
    /// From a teacher, so many rows at a time.
    By(Box<dyn Teacher>, usize),
    /// From files.
    In(Import),
}

impl Said {
    fn record(&self, recorder: &mut Recorder, rows: &TokenRows) -> Result<(), RecordingError> {
        match self {
            Self::In(import) => recorder.import(import, rows),
            Self::By(teacher, batch_size) => {
                let watched = Watched {
                    teacher: &**teacher,
                    bar: rows_bar(recorder.rows(), rows.len()),
                };
                let recorded = recorder.record(&watched, rows, *batch_size);
                watched.bar.finish_and_clear();
                recorded
            }
        }
    }
}

/// A bar of rows, some of which are recorded already.
fn rows_bar(recorded: u64, rows: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} rows  {per_sec}  {eta} left");
    let bar = ProgressBar::new(rows as u64).with_position(recorded);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.reset_eta();
    bar
}

/// A teacher whose answers are counted.
#[derive(Debug)]
struct Watched<'a> {
    teacher: &'a dyn Teacher,
    bar: ProgressBar,
}

impl Teacher for Watched<'_> {
    fn shape(&self) -> ModelShape {
        self.teacher.shape()
    }

    fn answer(&self, batch: &TokenBatch, taps: &Taps) -> Result<Answer, ForwardError> {
        let answer = self.teacher.answer(batch, taps)?;
        self.bar.inc(batch.shape()[0] as u64);
        Ok(answer)
    }

    fn on(&self, device: &Device) -> Arc<dyn Teacher> {
        self.teacher.on(device)
    }
}

/// The most rows that are recorded to rehearse.
const MOST_REHEARSED: usize = 16;

/// Records a row elsewhere and takes a training step with it, so that what the objective can't learn
/// from is told before hours are spent.
fn rehearse(
    config: &Config,
    rows: &Rows,
    student: Decoder,
    said: &Said,
    recording: RecordingConfig,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let length = rows.train.length();
    // The first rows of which one scores something.
    let mut batches = rows.train.in_order(1).take(MOST_REHEARSED).enumerate();
    let scored = batches.find_map(|(at, batch)| {
        let scored = batch.map(|batch| (batch.predictions() > 0).then_some((at + 1, batch)));
        scored.transpose()
    });
    let Some((count, batch)) = scored.transpose()? else {
        return Ok(());
    };
    let first = rows.train.clone().limited_to(count * length);
    let recording = RecordingConfig {
        provenance: Provenance {
            data: first.key(),
            ..recording.provenance
        },
        ..recording
    };
    let expected = recording.provenance.clone();
    let mut recorder = Recorder::open(folder.path(), recording)?;
    said.record(&mut recorder, &first)?;
    let recording = Recording::open(folder.path(), &expected, &student.device())?;
    let recording: Arc<dyn Teacher> = Arc::new(recording);
    let calibrates = match said {
        Said::By(teacher, _) => &**teacher,
        Said::In(_) => &*recording,
    };
    let mut trainer = trainer(config, &rows.train, student, recording.clone(), calibrates)?;
    let step = trainer.step(&[batch]);
    step.context("a student can't learn from what would be recorded")?;
    Ok(())
}
