//! Trains the same student from the same random weights with each objective, and prints a row of
//! Markdown for each: what its own value, the perplexity and the hidden states came to.
//!
//! ```sh
//! cargo run --release --example objectives
//! ```
#![allow(clippy::print_stdout)]

use burn::module::Module;
use burn::tensor::Device;
use distily::core::{LanguageModel, LiveTeacher, Seed, Teacher, TokenBatch};
use distily::data::{Batches, DocumentEncoder, Packing, TextTokenizer, TokenRows};
use distily::eval::perplexity;
use distily::kernels::TrainingAllocator;
use distily::models::{Decoder, StudentConfig};
use distily::objectives::{Composite, LayerScore, LayerSearch, ObjectiveConfig};
use distily::{Schedule, Trainer, TrainingConfig};
use distily_benches::held_out_value;
use distily_examples::Stories;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

const STEPS: usize = 200;
const ROWS: usize = 4;
const LENGTH: usize = 96;

/// Terms as a config file says them.
const OBJECTIVES: &[&str] = &[
    r#"{ loss = "forward_kl" }"#,
    r#"{ loss = "forward_kl", temperature = 2.0 }"#,
    r#"{ loss = "reverse_kl" }"#,
    r#"{ loss = "soft_cross_entropy" }"#,
    r#"{ loss = { mixed_kl = { reverse_share = 0.5 } } }"#,
    r#"{ loss = { jensen_shannon = { beta = 0.5 } } }"#,
    r#"{ loss = { skew_kl = { alpha = 0.1 } } }"#,
    r#"{ loss = { skew_reverse_kl = { alpha = 0.1 } } }"#,
    r#"{ loss = { adaptive_kl = { head_mass = 0.5 } } }"#,
    r#"{ loss = "total_variation" }"#,
    r#"{ loss = { alpha_beta = { alpha = 0.2, beta = 0.7 } } }"#,
    r#"{ loss = "probabilities_mse", weight = 1000.0 }"#,
    r#"{ loss = "logits_mse" }"#,
    r#"{ loss = { top_k_kl = { k = 12 } } }"#,
    r#"{ loss = { sampled_kl = { draws = 12 } } }"#,
    r#"{ loss = "uld" }"#,
    r#"{ loss = { sinkhorn = {} } }"#,
    r#"{ loss = "cross_entropy" }"#,
    r#"{ loss = "hidden_mse", projector = "linear", norm = "rms" }"#,
    r#"{ loss = "hidden_mse", projector = { mlp = {} }, norm = "layer" }"#,
    r#"{ loss = "hidden_mse", projector = "linear", norm = { whitened = {} } }"#,
    r#"{ loss = "cosine", projector = "orthogonal" }"#,
    r#"{ loss = { logsum = { alpha = 4.0 } }, projector = "linear", norm = "rms" }"#,
    r#"{ loss = "cka" }"#,
    r#"{ loss = { info_nce = { tau = 0.1 } }, projector = "linear" }"#,
    r#"{ loss = { dist = {} }, projector = "linear" }"#,
    r#"{ loss = { relation_mse = { heads = 4 } }, layers = "last" }"#,
    r#"{ loss = { relation_kl = { heads = 4 } }, layers = "last" }"#,
    r#"{ loss = { relation_kl = { heads = 4, of = ["value"] } }, layers = "last" }"#,
    r#"{ loss = { relation_normalized_kl = { heads = 4, tau = 0.2 } }, layers = "last" }"#,
    r#"{ loss = "attention_mse" }"#,
    r#"{ loss = "attention_kl" }"#,
    r#"{ loss = "forward_kl" }, { loss = "hidden_mse", projector = "linear", norm = "rms" }"#,
    r#"{ loss = "forward_kl" }, { loss = { relation_kl = { heads = 4 } }, layers = "last" }"#,
];

/// What is compared before and after.
struct Measured {
    value: f64,
    perplexity: f64,
    unexplained: f64,
}

struct Run {
    teacher: Arc<LiveTeacher<Decoder>>,
    student: Decoder,
    batches: Batches,
    held_out: Vec<TokenBatch>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/teacher");
    let teacher = Decoder::load(&folder, &device)?;
    let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;
    let stories: Vec<String> = Stories::new(Seed(7)).take(2000).collect();
    let (held_out, stories) = stories.split_at(60);
    let encoder = DocumentEncoder {
        end_of_text: Some(0),
        ..DocumentEncoder::new(tokenizer)
    };
    let rows = |stories| TokenRows::pack(encoder.tokens(stories)?, Packing::Wrapped, LENGTH);
    let shape = StudentConfig {
        layers: Some(3),
        width: Some(96),
        heads: Some(3),
        ..StudentConfig::default()
    };
    let run = Run {
        student: Decoder::random(&shape.of(teacher.config())?, Seed(1), &device.autodiff())?,
        batches: rows(stories)?.batches(ROWS),
        held_out: rows(held_out)?.in_order(ROWS).collect::<Result<_, _>>()?,
        teacher: Arc::new(LiveTeacher::new(teacher)),
    };
    println!("| objective | its value | | perplexity | | hidden states | |");
    println!("|---|---|---|---|---|---|---|");
    for terms in OBJECTIVES {
        let [before, after] = run.train(terms)?;
        println!(
            "| `{terms}` | {:.4} → {:.4} | {:.1}x | {:.0} → {:.2} | {:.0}x | {:.2} → {:.2} | {:.1}x |",
            before.value,
            after.value,
            before.value / after.value,
            before.perplexity,
            after.perplexity,
            before.perplexity / after.perplexity,
            before.unexplained,
            after.unexplained,
            before.unexplained / after.unexplained,
        );
    }
    Ok(())
}

impl Run {
    fn train(&self, terms: &str) -> Result<[Measured; 2], Box<dyn Error>> {
        let config: ObjectiveConfig = toml::from_str(&format!("terms = [{terms}]"))?;
        let (student, teacher) = (self.student.clone(), &self.teacher);
        let objective = config
            .build(
                &student.shape(),
                &teacher.shape(),
                Seed(2),
                &student.device(),
            )?
            .calibrated(&**teacher, self.held_out.clone())?;
        let training = TrainingConfig {
            steps: STEPS,
            learning_rate: 2e-3,
            final_learning_rate: Some(1e-4),
            schedule: Schedule::Cosine,
            ..TrainingConfig::default()
        };
        let before = self.measure(&student.valid(), &objective.valid())?;
        let mut trainer = Trainer::new(student, teacher.clone(), objective, training)?;
        for batch in self.batches.after(Seed(4), 0).take(STEPS) {
            trainer.step(&[batch?])?;
        }
        let after = self.measure(&trainer.student().valid(), &trainer.objective().valid())?;
        Ok([before, after])
    }

    /// On the held-out rows.
    fn measure(
        &self,
        student: &Decoder,
        objective: &Composite,
    ) -> Result<Measured, Box<dyn Error>> {
        let value = held_out_value(objective, student, &*self.teacher, &self.held_out)?;
        let fit = LayerSearch {
            score: LayerScore::LinearFit,
            ..LayerSearch::default()
        };
        let fit = fit.run(student, &*self.teacher, self.held_out.clone())?;
        Ok(Measured {
            value,
            perplexity: perplexity(student, self.held_out.clone())?.perplexity(),
            unexplained: 1.0
                - fit
                    .scores
                    .last()
                    .and_then(|row| row.last())
                    .ok_or("no layers")?,
        })
    }
}
