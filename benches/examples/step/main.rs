//! Steps of a distillation, or readings of its teacher, timed by phase: our side of
//! `compare/step.py`. Says as JSON what they took.
//!
//! ```sh
//! cargo run --release -p distily-benches --example step -- train logits|hidden|relation TEACHER STUDENT STEPS
//! cargo run --release -p distily-benches --example step -- read ROWS TEACHER READINGS
//! ```
#![allow(clippy::print_stdout)]

mod phases;

use burn::module::Module;
use burn::tensor::Device;
use distily::core::{LanguageModel, LiveTeacher, Seed, Taps, TokenBatch};
use distily::kernels::TrainingAllocator;
use distily::models::Decoder;
use distily::objectives::{Composite, ObjectiveConfig};
use distily::{Schedule, Trainer, TrainingConfig};
use distily_benches::{forget_peak, memory, tensor};
use phases::Phases;
use serde_json::{Value, json};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

const LENGTH: usize = 128;
const ROWS: usize = 4;

/// Objectives by name, and their terms as a config file says them. A term's value is the mean over
/// its pairs and features, torch's side adds them up. Hidden states of SmolLM2-135M have elements of
/// hundreds; 12 is as many as divide its queries and its keys.
const OBJECTIVES: [(&str, &[&str]); 3] = [
    ("logits", &[KL]),
    ("hidden", &[KL, HIDDEN]),
    ("relation", &[KL, HIDDEN, RELATION]),
];
const KL: &str = r#"{ loss = "forward_kl" }"#;
const HIDDEN: &str = r#"{ loss = "hidden_mse", weight = 4e-4, layers = { explicit = { pairs = [[3, 7], [7, 15], [11, 23], [14, 29]] } } }"#;
const RELATION: &str = r#"{ loss = { relation_mse = { heads = 12 } }, weight = 3.0, layers = { explicit = { pairs = [[14, 29]] } } }"#;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut results = match arguments[..] {
        ["train", objective, teacher, student, steps] => train(
            objective,
            Path::new(teacher),
            Path::new(student),
            steps.parse()?,
        )?,
        ["read", rows, teacher, readings] => {
            read(rows.parse()?, Path::new(teacher), readings.parse()?)?
        }
        _ => return Err("see the head of this file for the arguments".into()),
    };
    results["peak_gflops"] = json!(peak_gflops());
    println!("{results}");
    Ok(())
}

fn train(
    objective: &str,
    teacher: &Path,
    student: &Path,
    steps: usize,
) -> Result<Value, Box<dyn Error>> {
    let phases = Phases::default();
    tracing_subscriber::registry().with(phases.clone()).init();
    let before = memory("VmRSS")?;
    let device = Device::flex();
    let teacher = Decoder::load(teacher, &device)?;
    let student = Decoder::load(student, &device.autodiff())?;
    let vocabulary = student.shape().vocabulary;
    // The teacher's weights; the student's, their gradients, and their two moments.
    let parameters = Module::num_params(&teacher) + 4 * Module::num_params(&student);
    let config = TrainingConfig {
        learning_rate: 1e-4,
        schedule: Schedule::Constant,
        warmup: 0.0,
        ..TrainingConfig::default()
    };
    let objective = objective_of(objective, &teacher, &student)?;
    let teacher = Arc::new(LiveTeacher::new(teacher));
    let mut trainer = Trainer::new(student, teacher, objective, config)?;
    forget_peak()?;
    let (mut losses, mut times) = (Vec::new(), Vec::new());
    for step in 0..steps {
        let batch = batch(ROWS, step, vocabulary)?;
        let start = Instant::now();
        let report = trainer.step(&[batch])?;
        let seconds = start.elapsed().as_secs_f64();
        let mut time = json!(phases.take());
        time["step"] = json!(seconds);
        times.push(time);
        losses.push(report.loss);
    }
    Ok(json!({
        "losses": losses,
        "times": times,
        "tokens": ROWS * LENGTH,
        "before": before,
        "kept": 4 * parameters,
        "peak": memory("VmHWM")?,
    }))
}

fn objective_of(
    name: &str,
    teacher: &Decoder,
    student: &Decoder,
) -> Result<Composite, Box<dyn Error>> {
    let named = OBJECTIVES.iter().find(|(known, _)| *known == name);
    let (_, terms) = named.ok_or_else(|| format!("{name} is no objective"))?;
    let config: ObjectiveConfig = toml::from_str(&format!("terms = [{}]", terms.join(", ")))?;
    let (student, device) = (student.shape(), student.device());
    Ok(config.build(&student, &teacher.shape(), Seed(0), &device)?)
}

fn read(rows: usize, teacher: &Path, readings: usize) -> Result<Value, Box<dyn Error>> {
    let before = memory("VmRSS")?;
    let model = Decoder::load(teacher, &Device::flex())?;
    forget_peak()?;
    let (mut losses, mut times) = (Vec::new(), Vec::new());
    for reading in 0..readings {
        let batch = batch(rows, reading, model.shape().vocabulary)?;
        let start = Instant::now();
        let logits = model.forward(&batch, &Taps::logits())?.logits;
        times.push(json!({"step": start.elapsed().as_secs_f64()}));
        // Something of the logits that both sides must agree on.
        let logits = logits.ok_or("no logits")?;
        losses.push(logits.square().mean().into_scalar::<f32>());
    }
    Ok(json!({
        "losses": losses,
        "times": times,
        "tokens": rows * LENGTH,
        "before": before,
        "kept": 4 * Module::num_params(&model),
        "peak": memory("VmHWM")?,
    }))
}

/// Tokens without meaning that are easily the same on both sides.
fn batch(rows: usize, step: usize, vocabulary: usize) -> Result<TokenBatch, Box<dyn Error>> {
    let id = |at: usize| ((7919 * at + 104_729 * step) % vocabulary) as u32;
    Ok(TokenBatch::new(
        (0..rows * LENGTH).map(id).collect::<Vec<_>>(),
        [rows, LENGTH],
    )?)
}

/// The best of 20 products of 1024 x 1024 matrices.
fn peak_gflops() -> f64 {
    let size = 1024;
    let a = tensor([size, size], &Device::flex());
    let best = (0..20)
        .map(|_| {
            let start = Instant::now();
            drop(a.clone().matmul(a.clone()));
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    2.0 * (size as f64).powi(3) / best / 1e9
}
