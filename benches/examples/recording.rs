//! Records given top-k rows and reads them back.
//!
//! ```sh
//! cargo run --release -p distily-benches --example recording -- FOLDER [ROWS]
//! ```
//!
//! Rows of 512 tokens with 64 ids each, for three vocabularies, in folders below FOLDER, which are
//! removed again.
#![allow(clippy::print_stdout)]

use burn::tensor::Device;
use distily::core::{ModelShape, Taps, Teacher, TokenBatch};
use distily::data::{
    Codec, ContentHash, LikelyIds, Provenance, Recorder, Recording, RecordingConfig,
};
use distily::kernels::TrainingAllocator;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

const LENGTH: usize = 512;
const BATCH: usize = 8;
const K: usize = 64;

fn batch(number: usize) -> Result<TokenBatch, Box<dyn Error>> {
    let ids = (0..BATCH * LENGTH).map(|at| ((number * 977 + at * 13) % 50_000) as u32);
    Ok(TokenBatch::new(ids.collect(), [BATCH, LENGTH])?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("FOLDER is missing")?);
    let rows: usize = arguments.next().as_deref().unwrap_or("4000").parse()?;
    let batches: Vec<TokenBatch> = (0..rows / BATCH).map(batch).collect::<Result<_, _>>()?;
    let tokens = batches.len() * BATCH * LENGTH;
    for vocabulary in [50_257, 151_936, 262_144] {
        let folder = folder.join(vocabulary.to_string());
        let hash = |what: &str| ContentHash::of("bench", [what]);
        let config = RecordingConfig {
            provenance: Provenance {
                teacher: hash("teacher"),
                tokenizer: hash("tokenizer"),
                data: hash("data"),
                temperature: 1.0,
            },
            shape: ModelShape {
                vocabulary,
                ..ModelShape::default()
            },
            codec: Codec::TopK { k: K, p: 1.0 },
            hidden_layers: vec![],
        };
        // 64 ids of a token lie all over the vocabulary, as a teacher's do.
        let known = LikelyIds {
            lengths: vec![K; BATCH * LENGTH],
            ids: (0..BATCH * LENGTH * K)
                .map(|at| ((at * 7919) % vocabulary) as u32)
                .collect(),
            log_probabilities: (0..BATCH * LENGTH * K)
                .map(|at| -2.25 - (at % K) as f32 / 8.0)
                .collect(),
            tails: vec![0.1; BATCH * LENGTH],
        };
        let start = Instant::now();
        let mut recorder = Recorder::open(&folder, config.clone())?;
        for batch in &batches {
            recorder.record_likely(batch, &known)?;
        }
        recorder.finish()?;
        let written = start.elapsed().as_secs_f64();
        let mut bytes = 0;
        for file in std::fs::read_dir(&folder)? {
            bytes += file?.metadata()?.len();
        }
        let start = Instant::now();
        let recording = Recording::open(&folder, &config.provenance, &Device::flex())?;
        let pass = || -> Result<f64, Box<dyn Error>> {
            let start = Instant::now();
            for batch in &batches {
                std::hint::black_box(recording.answer(batch, &Taps::none())?);
            }
            Ok(start.elapsed().as_secs_f64())
        };
        let opened = start.elapsed().as_secs_f64();
        let (first, second) = (pass()?, pass()?);
        println!(
            "{vocabulary}: {:.1} bytes per token, written {:.2} M tokens/s, opened in {:.1} ms, read {:.2} M tokens/s, again {:.2}",
            bytes as f64 / tokens as f64,
            tokens as f64 / written / 1e6,
            1e3 * opened,
            tokens as f64 / first / 1e6,
            tokens as f64 / second / 1e6,
        );
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}
