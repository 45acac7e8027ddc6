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
use distily::data::{TextTokenizer, TokenRows};
use distily::eval::perplexity;
use distily::models::Decoder;
use safetensors::SafeTensors;
use std::path::PathBuf;

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

    let rows = TokenRows::pack(&[ids], 1024, None).unwrap();
    let ours = perplexity(&model, rows.in_order(1)).unwrap();
    let theirs = f64::from(f32::from_le_bytes(words("nll")[0])) / ours.tokens as f64;
    println!(
        "perplexity {:.5}, transformers {:.5}",
        ours.perplexity(),
        theirs.exp()
    );
    assert!((ours.perplexity() / theirs.exp() - 1.0).abs() < 5e-5);
}
