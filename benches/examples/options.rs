//! What the options of a training step cost: each against the same step without it, as a table.
//!
//! ```sh
//! cargo build --release --workspace --examples
//! target/release/examples/options > docs/results/options.md
//! target/release/examples/options 1 4     # a round with a teacher of 4 layers, to try it out
//! ```
#![allow(clippy::print_stdout)]

use burn::tensor::Device;
use distily::OptimizerConfig;
use distily::core::Seed;
use distily::kernels::TrainingAllocator;
use distily::models::{Decoder, DecoderConfig, Precision, StoredAs};
use distily_benches::{Cost, Recomputed, Training, processor};
use std::error::Error;
use std::path::Path;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

const THREADS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(training) = Training::asked_for() {
        println!("{}", serde_json::to_string(&training.measured()?)?);
        return Ok(());
    }
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().as_deref().unwrap_or("3").parse()?;
    let layers: usize = arguments.next().as_deref().unwrap_or("30").parse()?;
    let folder = tempfile::tempdir()?;
    let teacher = DecoderConfig {
        layers,
        vocabulary: 49_152,
        width: 576,
        heads: 9,
        kv_heads: 3,
        head_width: 64,
        feed_forward_width: 1536,
        ..DecoderConfig::default()
    };
    Decoder::random(&teacher, Seed(0), &Device::flex())?.save(folder.path(), StoredAs::F32)?;

    let cases = cases(folder.path())?;
    let mut costs = vec![Vec::new(); cases.len()];
    for _ in 0..rounds {
        for ((_, training), costs) in cases.iter().zip(&mut costs) {
            costs.push(training.cost(THREADS)?);
        }
    }
    println!("{}", head(&cases[0].1, rounds, layers));
    let medians: Vec<Cost> = costs.into_iter().map(median).collect();
    let base = medians[0];
    for ((name, _), cost) in cases.iter().zip(&medians) {
        println!(
            "| {name} | {:.3} | {:.2} | {:.0} | {:.2} | {:.0} |",
            cost.seconds,
            cost.seconds / base.seconds,
            cost.peak as f64 / f64::from(1 << 20),
            cost.peak as f64 / base.peak as f64,
            cost.tokens as f64 / cost.seconds,
        );
    }
    Ok(())
}

/// The step that the others are compared with, and each option.
fn cases(teacher: &Path) -> Result<Vec<(&'static str, Training)>, serde_json::Error> {
    let base = Training {
        teacher: teacher.to_owned(),
        precision: Precision::F32,
        rows: 4,
        length: 128,
        accumulation: 1,
        recomputed: Recomputed::Nothing,
        optimizer: OptimizerConfig::default(),
        tapped: 0,
        steps: 5,
    };
    let with = |name, change: &dyn Fn(&mut Training)| {
        let mut training = base.clone();
        change(&mut training);
        (name, training)
    };
    let batches = |rows, accumulation| {
        move |training: &mut Training| {
            training.rows = rows;
            training.accumulation = accumulation;
        }
    };
    let lion: OptimizerConfig = serde_json::from_value(serde_json::json!({ "name": "lion" }))?;
    Ok(vec![
        with("the step itself", &|_| ()),
        with("teacher in bf16", &|t| t.precision = Precision::BF16),
        with("teacher in int8", &|t| t.precision = Precision::Int8),
        with("a batch of 1 row", &batches(1, 1)),
        with("a batch of 2 rows", &batches(2, 1)),
        with("a batch of 8 rows", &batches(8, 1)),
        with("2 batches of 2 rows", &batches(2, 2)),
        with("4 batches of 1 row", &batches(1, 4)),
        with("cheap operations again", &|t| {
            t.recomputed = Recomputed::Operations;
        }),
        with("every second block again", &|t| {
            t.recomputed = Recomputed::Blocks(2);
        }),
        with("every block again", &|t| {
            t.recomputed = Recomputed::Blocks(1);
        }),
        with("Lion", &|t| t.optimizer = lion),
    ])
}

/// Of each figure.
fn median(mut costs: Vec<Cost>) -> Cost {
    let middle = costs.len() / 2;
    costs.sort_by_key(|cost| cost.peak);
    let peak = costs[middle].peak;
    costs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Cost {
        peak,
        ..costs[middle]
    }
}

fn head(base: &Training, rounds: usize, layers: usize) -> String {
    format!(
        "# What options cost

```sh
cargo build --release --workspace --examples
target/release/examples/options {rounds} {layers} > docs/results/options.md
```

{}, of which {THREADS} are used. A training step with one option changed, against the step itself: forward KL from a teacher of
SmolLM2-135M's width ({layers} layers, random weights) to a student with half its layers, f32, a batch of {} rows of {} tokens, AdamW.
The medians of {rounds} runs, each a process of its own, of the medians of {} steps, a first one not counted. The peak is that of the
memory of another process, both models loaded, whose allocator gives back at once what is freed: what two steps need at a time.

What runs again in the backward pass is gradient checkpointing: burn's own for cheap operations (`Device::gradient_checkpointing`), and
that of blocks (`Decoder::with_gradient_checkpointing`).

| option | step, s | time | peak, MiB | memory | tokens/s |
|---|---|---|---|---|---|",
        processor(),
        base.rows,
        base.length,
        base.steps,
    )
}
