//! Checks the gradient of every loss, and prints the page that says how far each is off:
//!
//! `cargo run --release --example gradient_check > docs/gradient-check.md`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod defined;
mod features;
mod output;
mod reference;

#[path = "../../tests/golden/mod.rs"]
mod golden;

use distily_objectives::LossConfig;
use golden::Against;
use output::{CONDITIONS, Case};
use std::collections::BTreeMap;

const OF_OUTPUT: [LossConfig; 15] = [
    LossConfig::ForwardKl,
    LossConfig::ReverseKl,
    LossConfig::SoftCrossEntropy,
    LossConfig::MixedKl { reverse_share: 0.3 },
    LossConfig::JensenShannon { beta: 0.3 },
    LossConfig::SkewKl { alpha: 0.1 },
    LossConfig::SkewReverseKl { alpha: 0.1 },
    LossConfig::AdaptiveKl { head_mass: 0.5 },
    LossConfig::TotalVariation,
    LossConfig::AlphaBeta {
        alpha: 0.2,
        beta: 0.7,
    },
    LossConfig::ProbabilitiesMse,
    LossConfig::LogitsMse,
    LossConfig::TopKKl { k: 3 },
    LossConfig::Uld,
    LossConfig::CrossEntropy,
];

fn main() {
    println!("{INTRODUCTION}");
    let of_output = golden::output::divergences().into_iter();
    let torch = worst(of_output.chain(golden::output::others()));
    let names = CONDITIONS.map(|condition| condition.name).join(" | ");
    println!("## Losses on the output distribution\n\n| loss | form | {names} | torch |");
    println!("|---|---|{}---|", "---|".repeat(CONDITIONS.len()));
    for loss in &OF_OUTPUT {
        let cases = CONDITIONS.map(|condition| Case::new(loss, condition));
        let of_torch = torch.get(loss.name()).cloned().unwrap_or_default();
        if *loss != LossConfig::CrossEntropy {
            let cells = cases
                .each_ref()
                .map(|case| case.dense().unwrap_or_default());
            println!(
                "| {} | dense | {} | {of_torch} |",
                loss.name(),
                cells.join(" | ")
            );
        }
        let cells = cases.each_ref().map(Case::fused);
        println!("| {} | fused | {} | |", loss.name(), cells.join(" | "));
        if let [Some(first), rest @ ..] = cases.each_ref().map(Case::sparse) {
            let rest: Vec<String> = rest.into_iter().flatten().collect();
            let rest = rest.join(" | ");
            println!("| {} | sparse | {first} | {rest} | |", loss.name());
        }
    }
    let of_features = golden::features::cases().into_iter();
    let torch = worst(of_features.chain(golden::output::others()));
    println!(
        "\n## Losses on features, and between tokens\n\n| loss | all tokens | mask | torch |\n|---|---|---|---|"
    );
    for (name, cells) in features::rows() {
        let of_torch = torch.get(name).cloned().unwrap_or_default();
        println!("| {name} | {} | {of_torch} |", cells.join(" | "));
    }
}

/// The worst value and gradient of each loss against torch.
fn worst(cases: impl Iterator<Item = Against>) -> BTreeMap<String, String> {
    let mut worst: BTreeMap<String, [f64; 2]> = BTreeMap::new();
    for case in cases {
        let [value, gradient] = worst.entry(case.loss).or_default();
        *value = value.max(case.value);
        *gradient = gradient.max(case.gradient);
    }
    let cell = |[value, gradient]: [f64; 2]| format!("{value:.0e} / {gradient:.0e}");
    worst
        .into_iter()
        .map(|(loss, errors)| (loss, cell(errors)))
        .collect()
}

const INTRODUCTION: &str = "\
# How far each gradient is off

Made by `cargo run --release --example gradient_check > docs/gradient-check.md`.

What is checked is what training uses: gradients in f32, in closed form and by native code where there is some. Each number is the
largest difference over the largest magnitude, so 1e-7 is the rounding of f32.

- Columns of circumstances: the error against central finite differences / against autograd. Both references are taken in f64 of the
  definition of the loss, written in burn's operations apart from the library (`examples/gradient_check/defined.rs`); those of the
  second table, where burn's autograd takes most of the gradient anyway, are of the same function in f64.
- torch: the error of the value / of the gradient against torch in f64, the worst of all cases of `tests/golden`.
- dense: the function over logits. fused: through the head, in chunks of tokens; the gradients of the hidden states and of the head.
- sparse: forward KL of a teacher that is known at its three likeliest ids; top_k_kl finds them in its logits.
- mask: a third of the tokens does not count. padded vocabulary: with a mask, a temperature of 2.5, and columns of the teacher that the
  student has not.
";
