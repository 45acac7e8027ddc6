//! Each kernel against its composition of burn operations: our side of `compare/kernels.py`. Says as
//! JSON how many milliseconds both took, and what of their results torch's must agree with. Given names,
//! it runs the kernels that have one.
//!
//! ```sh
//! cargo run --release -p distily-benches --example kernels -- [NAME...]
//! ```
#![allow(clippy::print_stdout)]

mod attention;
mod case;
mod elementwise;
mod losses;
mod numbers;
mod optimizers;
mod products;

use burn::tensor::Device;
use case::Case;
use distily::kernels::{TrainingAllocator, on_pool};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

/// Each form runs for this long, and at least [`ROUNDS`] times.
const TIME: Duration = Duration::from_millis(300);
const ROUNDS: usize = 5;
/// How far both forms' results may be apart, relative to their size.
const TOLERANCE: f64 = 1e-3;

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    // As in a training step.
    println!("{}", on_pool(&Device::flex(), || measured_of(&names)));
}

fn measured_of(names: &[String]) -> Value {
    let asked = |case: &Case| names.is_empty() || names.iter().any(|name| name == case.kernel);
    let cases = attention::cases()
        .chain(elementwise::cases())
        .chain(losses::cases())
        .chain(optimizers::cases())
        .chain(products::cases());
    Value::from_iter(cases.filter(asked).map(measured))
}

/// The forms run alternately, after a round that does not count.
fn measured(mut case: Case) -> Value {
    let [ours, composed] = [&mut case.ours, &mut case.composed].map(|form| {
        let results = form().into_iter().map(|result| result());
        results.collect::<Vec<f64>>()
    });
    let name = format!("{} {}, {}", case.kernel, case.shape, case.pass);
    assert_eq!(ours.len(), composed.len(), "{name}");
    for (ours, composed) in ours.iter().zip(&composed) {
        let apart = (ours - composed).abs() / composed.abs();
        assert!(apart <= TOLERANCE, "{name}: {ours} and {composed}");
    }
    let (mut of_ours, mut of_composed) = (Vec::new(), Vec::new());
    let start = Instant::now();
    while of_ours.len() < ROUNDS || start.elapsed() < 2 * TIME {
        of_ours.push(milliseconds(|| drop((case.ours)())));
        of_composed.push(milliseconds(|| drop((case.composed)())));
    }
    json!({
        "kernel": case.kernel,
        "shape": case.shape,
        "pass": case.pass,
        "ours": median(of_ours),
        "composition": median(of_composed),
        "results": ours,
    })
}

fn milliseconds(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    1e3 * start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
