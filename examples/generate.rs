//! Continues prompts, or answers questions, with a model of a folder or of the hub.
//!
//! ```sh
//! cargo run --release --example generate -- runs/quickstart "One day"
//! cargo run --release --example generate -- HuggingFaceTB/SmolLM2-135M-Instruct --chat \
//!     --temperature 0.7 --top-p 0.9 "Why is the sky blue?"
//! ```
//!
//! One prompt is answered as it is written; several are answered together, as one batch.
#![allow(clippy::print_stdout)]

use anyhow::{Context, Result};
use clap::Parser;
use distily::core::LanguageModel;
use distily::data::{ChatTemplate, Message, TextTokenizer};
use distily::eval::{Generation, GenerationConfig, generate};
use distily::hub::Hub;
use distily::kernels::TrainingAllocator;
use distily::models::{Decoder, Precision};
use distily_examples::device;
use std::io::Write;

#[global_allocator]
static ALLOCATOR: TrainingAllocator = TrainingAllocator;

/// Continues prompts, or answers questions.
#[derive(Parser)]
struct Arguments {
    /// A folder or a hub id.
    model: String,
    /// What is continued.
    #[arg(required = true)]
    prompts: Vec<String>,
    /// Takes the prompts for questions to an assistant.
    #[arg(long)]
    chat: bool,
    /// What the assistant is told first.
    #[arg(long, requires = "chat")]
    system: Option<String>,
    /// New tokens, at most.
    #[arg(long, default_value_t = 100)]
    tokens: usize,
    /// 0 takes the likeliest token every time.
    #[arg(long, default_value_t = 0.0)]
    temperature: f64,
    /// Draws from this many of the likeliest tokens.
    #[arg(long)]
    top_k: Option<usize>,
    /// Draws from the likeliest tokens that together have this probability.
    #[arg(long)]
    top_p: Option<f64>,
    /// More than 1 makes repetitions less likely.
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f64,
    /// Ends a text; may be given more than once.
    #[arg(long)]
    stop: Vec<String>,
    /// Of the draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What the weights are kept as: f32, bf16, int8 or int4.
    #[arg(long, default_value = "f32", value_parser = precision)]
    precision: Precision,
}

fn precision(name: &str) -> Result<Precision, String> {
    toml::Value::from(name)
        .try_into()
        .map_err(|_| "expected f32, bf16, int8 or int4".to_owned())
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = Hub::from_env().model(&arguments.model)?;
    let model = Decoder::load_frozen(&folder, arguments.precision, &device())?;
    let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"))?;
    tokenizer.check_vocabulary(model.shape().vocabulary)?;
    let prompts: Vec<Vec<u32>> = if arguments.chat {
        let template = ChatTemplate::load(&folder)?;
        let texts = arguments
            .prompts
            .iter()
            .map(|question| {
                let system = arguments
                    .system
                    .iter()
                    .map(|text| Message::new("system", text));
                let turns: Vec<Message> = system.chain([Message::new("user", question)]).collect();
                template.render(&turns, true)
            })
            .collect::<Result<Vec<_>, _>>()?;
        tokenizer.encode(&texts)?
    } else {
        let prompts = arguments.prompts.iter();
        prompts
            .map(|text| tokenizer.prompt(text))
            .collect::<Result<_, _>>()?
    };
    let config = GenerationConfig {
        tokens: arguments.tokens,
        temperature: arguments.temperature,
        top_k: arguments.top_k,
        top_p: arguments.top_p,
        repetition_penalty: arguments.repetition_penalty,
        stop: arguments.stop,
        end_of_text: model.config().end_of_text.clone(),
        seed: arguments.seed,
    };
    if prompts.len() == 1 && config.stop.is_empty() {
        return stream(&model, &tokenizer, &prompts, &config);
    }
    let continued = generate(&model, &tokenizer, &prompts, &config)?;
    for (prompt, continued) in arguments.prompts.iter().zip(continued) {
        println!("{prompt}\n  ...{}\n", continued.text);
    }
    Ok(())
}

/// Shows the text of one prompt as it comes.
fn stream(
    model: &Decoder,
    tokenizer: &TextTokenizer,
    prompts: &[Vec<u32>],
    config: &GenerationConfig,
) -> Result<()> {
    let mut generation = Generation::new(model, prompts, config)?;
    let mut shown = 0;
    let start = std::time::Instant::now();
    while generation.step()? {
        let text = tokenizer.decode(generation.new_ids(0))?;
        // A character may take several tokens; until it is whole, its text ends in U+FFFD.
        if !text.ends_with(char::REPLACEMENT_CHARACTER) {
            print!("{}", text.get(shown..).unwrap_or_default());
            std::io::stdout().flush().context("standard output")?;
            shown = text.len();
        }
    }
    let tokens = generation.new_ids(0).len();
    let speed = tokens as f64 / start.elapsed().as_secs_f64();
    println!("\n({tokens} tokens, {speed:.1} a second, the prompt included)");
    Ok(())
}
