//! What a teacher in fewer bits holds, costs and gets wrong: a row of a table.
//!
//! ```sh
//! for precision in f32 bf16 int8 int4; do
//!     cargo run --release -p distily-benches --example precision -- MODEL_DIR TEXT_FILE $precision
//! done
//! ```
//!
//! Memory is what the process holds after loading. Its logits are held against those of the same
//! model in f32, on the first 2048 tokens of the text in rows of 512.
#![allow(clippy::print_stdout)]

use burn::tensor::Device;
use distily::core::{LanguageModel, Taps, TokenBatch};
use distily::data::{Packing, TextTokenizer, TokenRows, Tokens};
use distily::eval::{agreement, perplexity};
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
    let mut next = |name| arguments.next().ok_or(format!("{name} is missing"));
    let (folder, text) = (PathBuf::from(next("MODEL_DIR")?), next("TEXT_FILE")?);
    let name = next("PRECISION")?;
    let precision: Precision = serde_json::from_value(name.clone().into())?;

    let device = Device::flex();
    let before = memory("VmRSS")?;
    let model = Decoder::load_frozen(&folder, precision, &device)?;
    let held = memory("VmRSS")? - before;
    let exact = Decoder::load(&folder, &device)?;

    let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;
    let text: String = std::fs::read_to_string(text)?
        .chars()
        .take(20_000)
        .collect();
    let ids = tokenizer.encode(&[text])?.remove(0);
    let ids = ids
        .get(..2048)
        .ok_or("the text has fewer than 2048 tokens")?;
    let rows = TokenRows::pack(Tokens::new(&[ids.to_vec()])?, Packing::Wrapped, 512)?;
    let batches: Vec<TokenBatch> = rows.in_order(1).collect::<Result<_, _>>()?;

    let logits = |model: &Decoder, batch: &TokenBatch| -> Result<Vec<f32>, Box<dyn Error>> {
        let logits = model.forward(batch, &Taps::logits())?.logits;
        Ok(logits.map_or(Vec::new(), |logits| {
            logits.into_data().iter::<f32>().collect()
        }))
    };
    let (mut sum, mut count, mut seconds) = (0.0, 0, Vec::new());
    for batch in &batches {
        let start = Instant::now();
        let ours = logits(&model, batch)?;
        seconds.push(start.elapsed().as_secs_f64());
        for (ours, exact) in ours.iter().zip(logits(&exact, batch)?) {
            sum += f64::from(ours - exact).powi(2);
            count += 1;
        }
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        "| {name} | {:.0} | {:.2} | {:.4} | {:.2} % | {:.3} |",
        held as f64 / f64::from(1 << 20),
        seconds[seconds.len() / 2],
        (sum / f64::from(count)).sqrt(),
        100.0 * agreement(&model, &exact, batches.clone())?.share(),
        perplexity(&model, batches)?.perplexity(),
    );
    Ok(())
}
