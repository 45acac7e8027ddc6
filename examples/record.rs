//! Records what the model of a TOML file says of the data to learn from, into the folder that the file
//! names: `teacher = { recording = "FOLDER", model = "MODEL" }`. The example `distill` then learns from
//! the recording, by the same file and without the model.
//!
//! ```sh
//! cargo run --release --example record -- examples/configs/smollm2-recorded.toml
//! ```
#![allow(clippy::print_stdout)]

use anyhow::{Context, Result};
use clap::Parser;
use distily::core::{LanguageModel, LiveTeacher};
use distily::data::{ContentHash, Provenance, Recorder, RecordingConfig};
use distily::hub::Hub;
use distily::kernels::TrainingAllocator;
use distily::models::Decoder;
use distily_examples::{Config, RecordedTeacher, Rows, TeacherConfig, device};
use std::path::PathBuf;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

/// Records what the model of a TOML file says of the data to learn from. Once interrupted, it goes on.
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
    let TeacherConfig::Recorded(RecordedTeacher {
        recording,
        model,
        keep,
        hidden_layers,
    }) = &config.teacher
    else {
        anyhow::bail!(
            "the configuration names no recording: `teacher = {{ recording = \"FOLDER\", model = \"MODEL\" }}`"
        );
    };
    let folder = Hub::from_env().model(model)?;
    let teacher = Decoder::load_frozen(&folder, config.teacher_precision, &device())?;
    let rows = Rows::open(&config, &folder, teacher.config(), &arguments.data)?;

    let weights = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path()));
    let mut weights = weights.collect::<Result<Vec<_>>>()?;
    weights.retain(|file| file.extension().is_some_and(|end| end == "safetensors"));
    weights.sort();
    weights.push(folder.join("config.json"));
    let weights = ContentHash::of_files(&weights)?;
    // Fewer bits are another teacher.
    let precision = format!("{:?}", config.teacher_precision);
    let recorded = RecordingConfig {
        provenance: Provenance {
            teacher: ContentHash::of("teacher", [weights.as_bytes(), precision.as_bytes()]),
            tokenizer: rows.tokenizer,
            data: rows.train.key(),
            temperature: config.recorded_temperature()?,
        },
        shape: teacher.shape(),
        codec: keep.clone(),
        hidden_layers: hidden_layers.clone(),
    };
    let mut recorder = Recorder::open(recording, recorded)?;
    let begun = recorder.rows();
    recorder
        .record(&LiveTeacher::new(teacher), &rows.train, 4)
        .with_context(|| format!("{} rows are in {}", recorder.rows(), recording.display()))?;
    println!(
        "{} rows of {} tokens, {} of them now, are in {}",
        recorder.rows(),
        rows.train.length(),
        recorder.rows() - begun,
        recording.display()
    );
    Ok(())
}
