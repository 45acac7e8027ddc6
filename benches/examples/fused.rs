//! Head and forward KL, forward and back: fused and naive. A row of a table for each way, in a
//! process of its own, since a process' peak of memory is one.
//!
//! ```sh
//! cargo run --release -p distily-benches --example fused -- 2048 768 50257 trained
//! ```
//!
//! The naive way holds the logits of both sides and differentiates burn's `log_softmax`. Working
//! memory is the peak beyond what was held before, less the gradients of the hidden states and of the
//! head.
#![allow(clippy::print_stdout)]

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor};
use distily::core::Head;
use distily::kernels::{self, Divergence, TrainingAllocator};
use distily::objectives::{default_chunk, through_head};
use distily_benches::{forget_peak, memory, tensor};
use std::error::Error;
use std::process::Command;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokens, width, vocabulary] = [0, 1, 2].map(|at| {
        let number = arguments
            .get(at)
            .and_then(|text| text.parse::<usize>().ok());
        number.unwrap_or_else(|| panic!("usage: fused TOKENS WIDTH VOCABULARY trained|frozen"))
    });
    let head = arguments.get(3).map_or("trained", String::as_str);
    if let Some(way) = arguments.get(4) {
        return measure(
            tokens,
            width,
            vocabulary,
            head == "trained",
            way.parse().ok(),
        );
    }
    println!("| tokens | width | vocabulary | head | way | time, ms | working memory, MiB |");
    println!("|---|---|---|---|---|---|---|");
    let chunk = default_chunk(vocabulary);
    let ways = ["naive".to_owned()]
        .into_iter()
        .chain([16, 32, 64, chunk, 256, 512].map(|chunk| chunk.to_string()));
    for way in ways {
        let status = Command::new(std::env::current_exe()?)
            .args(&arguments[..3])
            .args([head, &way])
            .status()?;
        if !status.success() {
            return Err(format!("{way} failed").into());
        }
    }
    Ok(())
}

fn measure(
    tokens: usize,
    width: usize,
    vocabulary: usize,
    trained: bool,
    chunk: Option<usize>,
) -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    let graph = device.clone().autodiff();
    let hidden = tensor([tokens, width], &graph).require_grad();
    let weight = tensor([vocabulary, width], &graph).mul_scalar(0.05);
    let weight = if trained {
        weight.detach().require_grad()
    } else {
        weight.detach()
    };
    let head = Head::by_vocabulary(weight);
    let teacher_hidden = tensor([tokens, width], &device).mul_scalar(0.5);
    let teacher_head = Head::by_vocabulary(tensor([vocabulary, width], &device).mul_scalar(0.05));
    let weights = Tensor::<1>::full([tokens], 1.0 / tokens as f64, &device);

    let held = memory("VmRSS")?;
    forget_peak()?;
    let mut times = Vec::new();
    let mut peak = None;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let loss = match chunk {
            Some(chunk) => through_head(hidden.clone(), &head, chunk, |student, range| {
                let teacher = teacher_head.logits(teacher_hidden.clone().slice([range.clone()]));
                let weights = weights.clone().slice([range]);
                kernels::divergence(Divergence::ForwardKl, student, teacher, weights, 1.0)
            }),
            None => {
                let log_q = log_softmax(head.logits(hidden.clone()), 1);
                let log_p = log_softmax(teacher_head.logits(teacher_hidden.clone()), 1);
                let rows = (log_p.clone().exp() * (log_p - log_q)).sum_dim(1);
                (rows * weights.clone().unsqueeze_dim(1)).sum()
            }
        };
        let gradients = loss.backward();
        assert!(hidden.grad(&gradients).is_some());
        times.push(start.elapsed().as_secs_f64());
        // Of the first round: what an allocator keeps from one round to the next is not ours.
        peak = peak.or(Some(memory("VmHWM")?));
    }
    times.sort_by(f64::total_cmp);
    let float = 4;
    let mut gradients = tokens * width * float;
    if trained {
        gradients += vocabulary * width * float;
    }
    let working = (peak.unwrap_or(held) - held).saturating_sub(gradients as u64);
    let way = chunk.map_or("naive".to_owned(), |chunk| format!("fused, chunk {chunk}"));
    let head = if trained { "trained" } else { "frozen" };
    println!(
        "| {tokens} | {width} | {vocabulary} | {head} | {way} | {:.0} | {:.0} |",
        1e3 * times[ROUNDS / 2],
        working as f64 / f64::from(1 << 20),
    );
    Ok(())
}
