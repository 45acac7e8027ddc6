//! A real model against transformers. The model is not in the repository:
//!
//! ```sh
//! python distily/tests/golden/real_model.py MODEL_DIR TEXT golden.safetensors
//! DISTILY_MODEL=MODEL_DIR DISTILY_TEXT=TEXT DISTILY_GOLDEN=golden.safetensors \
//!     cargo test --release -p distily --test real_model -- --ignored --nocapture
//! ```
#![allow(clippy::print_stdout)]
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use distily::core::{LanguageModel, Taps, TokenBatch};
use distily::data::{ChatTemplate, Message, Packing, TextTokenizer, TokenRows, Tokens};
use distily::eval::{GenerationConfig, generate, perplexity};
use distily::models::Decoder;
use safetensors::SafeTensors;
use std::path::PathBuf;

/// As in real_model.py.
const PROMPTS: [&str; 3] = [
    "The capital of France is",
    "Once upon a time, in a village by the sea, there lived a clockmaker who",
    "def fibonacci(n):\n    ",
];
const QUESTIONS: [&str; 2] = [
    "Why is the sky blue?",
    "Name three animals that lay eggs, and say one thing about each of them.",
];

fn path(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} names no file: see the top of this file"))
        .into()
}

#[test]
#[ignore = "needs a model, a text and a golden file"]
fn logits_and_perplexity_are_those_of_transformers() {
    let golden = std::fs::read(path("DISTILY_GOLDEN")).unwrap();
    let golden = SafeTensors::deserialize(&golden).unwrap();
    let words = |name: &str| {
        golden
            .tensor(name)
            .unwrap()
            .data()
            .as_chunks::<4>()
            .0
            .to_vec()
    };
    let folder = path("DISTILY_MODEL");
    let model = Decoder::load(&folder, &Device::flex()).unwrap();

    let text = std::fs::read_to_string(path("DISTILY_TEXT")).unwrap();
    let text: String = text.chars().take(40_000).collect();
    let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json")).unwrap();
    let ids = tokenizer.encode(&[text]).unwrap().remove(0)[..4096].to_vec();
    let expected: Vec<u32> = words("ids").into_iter().map(u32::from_le_bytes).collect();
    assert_eq!(ids, expected, "the tokens");

    let batch = TokenBatch::new(ids[..64].to_vec(), [1, 64]).unwrap();
    let logits = model
        .forward(&batch, &Taps::logits())
        .unwrap()
        .logits
        .unwrap();
    let largest = logits
        .to_data()
        .iter::<f32>()
        .zip(words("logits"))
        .map(|(ours, theirs)| (ours - f32::from_le_bytes(theirs)).abs())
        .fold(0.0, f32::max);
    println!("largest difference of the logits of 64 tokens: {largest:.2e}");
    assert!(largest < 1e-3);

    let rows = TokenRows::pack(Tokens::new(&[ids]).unwrap(), Packing::Wrapped, 1024).unwrap();
    let ours = perplexity(&model, rows.in_order(1).map(Result::unwrap)).unwrap();
    let theirs = f64::from(f32::from_le_bytes(words("nll")[0])) / ours.tokens as f64;
    println!(
        "perplexity {:.5}, transformers {:.5}",
        ours.perplexity(),
        theirs.exp()
    );
    assert!((ours.perplexity() / theirs.exp() - 1.0).abs() < 5e-5);
}

#[test]
#[ignore = "needs a model and a golden file"]
fn greedy_texts_are_those_of_transformers() {
    let golden = std::fs::read(path("DISTILY_GOLDEN")).unwrap();
    let golden = SafeTensors::deserialize(&golden).unwrap();
    let ids = |name: String| -> Vec<u32> {
        let tensor = golden.tensor(&name).unwrap();
        let words = tensor.data().as_chunks::<4>().0;
        words.iter().map(|&word| u32::from_le_bytes(word)).collect()
    };
    let folder = path("DISTILY_MODEL");
    let model = Decoder::load(&folder, &Device::flex()).unwrap();
    let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json")).unwrap();
    let template = ChatTemplate::load(&folder).unwrap();
    let asked = QUESTIONS.map(|question| {
        template
            .render(&[Message::new("user", question)], true)
            .unwrap()
    });
    let texts: Vec<String> = PROMPTS
        .map(str::to_owned)
        .into_iter()
        .chain(asked)
        .collect();
    let prompts = tokenizer.encode(&texts).unwrap();
    let config = GenerationConfig::default();
    // All in one batch of unequal lengths, and each alone.
    let together = generate(&model, &tokenizer, &prompts, &config).unwrap();
    for (i, prompt) in prompts.into_iter().enumerate() {
        assert_eq!(prompt, ids(format!("prompt.{i}")), "prompt {i}");
        let expected = ids(format!("greedy.{i}"));
        assert_eq!(together[i].ids, expected, "prompt {i} among others");
        let alone = generate(&model, &tokenizer, &[prompt], &config).unwrap();
        assert_eq!(alone[0].ids, expected, "prompt {i} alone");
        println!("64 tokens alike: {:?}", together[i].text);
    }
}
