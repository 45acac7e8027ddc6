//! Loads a model, runs one token, and says as JSON what that took: our side of `compare/load.py`.
//!
//! ```sh
//! cargo run --release -p distily-benches --example load -- MODEL_DIR [f32|bf16|int8|int4]
//! ```
#![allow(clippy::print_stdout)]

use burn::tensor::Device;
use distily::core::{LanguageModel, Taps, TokenBatch};
use distily::kernels::TrainingAllocator;
use distily::models::{Decoder, Precision};
use distily_benches::memory;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("MODEL_DIR is missing")?);
    let precision = match arguments.next().as_deref() {
        None | Some("f32") => Precision::F32,
        Some("bf16") => Precision::BF16,
        Some("int8") => Precision::Int8,
        Some("int4") => Precision::Int4,
        Some(other) => return Err(format!("{other} is no precision").into()),
    };
    let before = memory("VmRSS")?;
    let start = Instant::now();
    let model = Decoder::load_frozen(&folder, precision, &Device::flex())?;
    let seconds = start.elapsed().as_secs_f64();
    let batch = TokenBatch::new(vec![1], [1, 1])?;
    let logits = model.forward(&batch, &Taps::logits())?.logits;
    let logit = logits.map(|logits| logits.into_data().iter::<f32>().next());
    println!(
        r#"{{"seconds": {seconds}, "before": {before}, "now": {}, "peak": {}, "logit": {}}}"#,
        memory("VmRSS")?,
        memory("VmHWM")?,
        logit.flatten().unwrap_or(f32::NAN),
    );
    Ok(())
}
