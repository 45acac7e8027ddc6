//! Makes the quickstart's teacher: trains a tokenizer and a small decoder on generated stories.
//!
//! ```sh
//! cargo run --release --example pretrain -- --out examples/quickstart/teacher
//! ```
#![allow(clippy::print_stdout)]

use anyhow::{Result, anyhow};
use burn::optim::{AdamWConfig, GradientsParams};
use clap::Parser;
use distily::core::{LanguageModel, Seed, Taps, TokenBatch, write_whole};
use distily::data::{DocumentEncoder, Packing, TextTokenizer, TokenRows};
use distily::eval::perplexity;
use distily::kernels::TrainingAllocator;
use distily::models::{Decoder, DecoderConfig, StoredAs};
use distily::objectives::{cross_entropy, mean_over};
use distily_examples::{Stories, device};
use std::path::PathBuf;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

/// Trains a small decoder on generated stories.
#[derive(Parser)]
struct Arguments {
    /// The folder to write.
    #[arg(long)]
    out: PathBuf,
    /// Optimizer steps.
    #[arg(long, default_value_t = 1800)]
    steps: usize,
    /// The seed of the stories and the weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const VOCABULARY: usize = 1024;
const END_OF_TEXT: &str = "<|endoftext|>";

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seed = Seed(arguments.seed);
    let stories: Vec<String> = Stories::new(seed).take(20_000).collect();
    let file = arguments.out.join("tokenizer.json");
    train_tokenizer(&stories, &file)?;
    let tokenizer = TextTokenizer::load(&file)?;
    let (held_out, train) = stories.split_at(200);
    let encoder = DocumentEncoder {
        end_of_text: Some(0),
        ..DocumentEncoder::new(tokenizer)
    };
    let rows = |stories: &[String]| -> Result<TokenRows> {
        let tokens = encoder.tokens(stories)?;
        Ok(TokenRows::pack(tokens, Packing::Wrapped, 192)?)
    };
    let (train, held_out) = (rows(train)?, rows(held_out)?);

    let config = DecoderConfig {
        vocabulary: VOCABULARY,
        width: 160,
        layers: 6,
        heads: 5,
        kv_heads: 1,
        head_width: 32,
        feed_forward_width: 448,
        positions: 512,
        end_of_text: vec![0],
        ..DecoderConfig::default()
    };
    let device = device();
    let mut model = Decoder::random(&config, seed, &device.clone().autodiff())?;
    let mut optimizer = AdamWConfig::new().with_weight_decay(0.01).init();
    let batches = train.batches(12).after(seed, 0).take(arguments.steps);
    for (step, batch) in batches.enumerate() {
        let batch = batch?;
        let outputs = model.forward(&batch, &Taps::logits())?;
        let logits = outputs.logits.expect("they were tapped").flatten(0, 1);
        let device = logits.device();
        let weights = mean_over(&batch.prediction_mask(), &device);
        let loss = cross_entropy(logits, batch.target_ids(&device), weights);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let done = step as f64 / arguments.steps as f64;
        let rate = 3e-3 * (10.0 * done).min(1.0).min(1.11 * (1.0 - done) + 0.01);
        model = optimizer.step(rate, model, gradients);
        if step.is_multiple_of(50) {
            println!("step {step}: loss {:.4}", loss.into_scalar::<f32>());
        }
    }
    let model = burn::module::Module::valid(&model);
    let held_out: Vec<TokenBatch> = held_out.in_order(8).collect::<Result<_, _>>()?;
    let measured = perplexity(&model, held_out)?;
    println!("held-out perplexity {:.4}", measured.perplexity());
    model.save(&arguments.out, StoredAs::BF16)?;
    Ok(())
}

/// A byte-level BPE, as GPT-2's.
fn train_tokenizer(stories: &[String], file: &std::path::Path) -> Result<()> {
    let error = |problem: tokenizers::Error| anyhow!(problem);
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let mut trainer: TrainerWrapper = BpeTrainer::builder()
        .vocab_size(VOCABULARY)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .build()
        .into();
    tokenizer
        .train(&mut trainer, stories.iter().map(String::as_str))
        .map_err(error)?;
    write_whole(file, |partial| {
        tokenizer.save(partial, true).map_err(std::io::Error::other)
    })?;
    Ok(())
}
