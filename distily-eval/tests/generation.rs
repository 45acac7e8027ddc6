//! Continued prompts: of any lengths, by cached and uncached models, to where they end.
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use distily_core::{
    ForwardError, Head, LanguageModel, ModelShape, Outputs, Seed, Taps, TokenBatch,
};
use distily_data::TextTokenizer;
use distily_eval::{Finish, GenerateError, Generation, GenerationConfig, Sampler, generate};
use distily_models::{Architecture, Decoder, DecoderConfig};
use serde::Deserialize;
use std::path::Path;

const WORDS: &[u8] = br#"{ "model": { "type": "WordLevel", "unk_token": "w0", "vocab": {
    "w0": 0, "w1": 1, "w2": 2, "w3": 3, "w4": 4, "w5": 5, "w6": 6, "w7": 7 } },
    "pre_tokenizer": { "type": "Whitespace" } }"#;

fn tokenizer() -> TextTokenizer {
    TextTokenizer::from_bytes(WORDS, Path::new("tokenizer.json")).unwrap()
}

fn model(architecture: Architecture) -> Decoder {
    let config = DecoderConfig {
        vocabulary: 8,
        width: 16,
        layers: 2,
        heads: 2,
        kv_heads: 2,
        head_width: 8,
        feed_forward_width: 24,
        positions: 30,
        initializer_range: 0.5,
        ..DecoderConfig::of(architecture)
    };
    Decoder::random(&config, Seed(4), &Device::flex()).unwrap()
}

/// The same without a cache.
#[derive(Debug)]
struct Uncached(Decoder);

impl LanguageModel for Uncached {
    fn shape(&self) -> ModelShape {
        self.0.shape()
    }
    fn device(&self) -> Device {
        self.0.device()
    }
    fn head(&self) -> Head {
        self.0.head()
    }
    fn forward(&self, batch: &TokenBatch, taps: &Taps) -> Result<Outputs, ForwardError> {
        self.0.forward(batch, taps)
    }
}

fn prompts() -> Vec<Vec<u32>> {
    vec![vec![3, 1, 4], vec![1], vec![5, 2, 6, 5, 3, 5]]
}

fn ids(
    model: &dyn LanguageModel,
    prompts: &[Vec<u32>],
    config: &GenerationConfig,
) -> Vec<Vec<u32>> {
    let continued = generate(model, &tokenizer(), prompts, config).unwrap();
    continued.into_iter().map(|row| row.ids).collect()
}

#[test]
fn greedy_is_the_argmax_of_an_uncached_pass() {
    for architecture in Architecture::ALL {
        let model = model(architecture);
        let config = GenerationConfig {
            tokens: 10,
            ..GenerationConfig::default()
        };
        for (prompt, new) in prompts().into_iter().zip(ids(&model, &prompts(), &config)) {
            assert_eq!(new.len(), 10);
            let mut ids = prompt;
            for expected in new {
                let batch = TokenBatch::new(ids.clone(), [1, ids.len()]).unwrap();
                let logits = model.forward(&batch, &Taps::logits()).unwrap().logits;
                let last = logits.unwrap().narrow(1, ids.len() - 1, 1).argmax(2);
                assert_eq!(
                    last.into_scalar::<i64>() as u32,
                    expected,
                    "{architecture:?}"
                );
                ids.push(expected);
            }
        }
    }
}

#[test]
fn neither_neighbours_nor_a_cache_change_a_row() {
    let cached = model(Architecture::Qwen3);
    let uncached = Uncached(cached.clone());
    let config = GenerationConfig {
        tokens: 12,
        temperature: 1.0,
        end_of_text: vec![7],
        ..GenerationConfig::default()
    };
    let together = ids(&cached, &prompts(), &config);
    assert_eq!(together, ids(&uncached, &prompts(), &config));
    assert!(
        together.iter().any(|row| row.len() < 12),
        "no row ended early"
    );
    // The draws are a row's own: the first row alone is the first row of many.
    assert_eq!(together[0], ids(&cached, &prompts()[..1], &config)[0]);
    assert_eq!(
        together,
        ids(&cached, &prompts(), &config),
        "a seed says all"
    );
    let other = GenerationConfig { seed: 1, ..config };
    assert_ne!(together, ids(&cached, &prompts(), &other));
}

#[test]
fn a_text_ends_where_it_should() {
    let model = model(Architecture::Llama);
    let run = |config: &GenerationConfig| {
        generate(&model, &tokenizer(), &prompts()[..1], config)
            .unwrap()
            .remove(0)
    };
    let free = GenerationConfig {
        tokens: 200,
        temperature: 1.0,
        ..GenerationConfig::default()
    };
    let longest = run(&free);
    assert_eq!(longest.ids.len(), 27, "the model has 30 positions");
    assert_eq!(longest.finish, Finish::Length);
    // Ends with a string that two tokens make.
    let words: Vec<&str> = longest.text.split(' ').collect();
    let stop = format!("{} {}", words[4], words[5]);
    let cut = run(&GenerationConfig {
        stop: vec!["never".to_owned(), stop.clone()],
        ..free.clone()
    });
    assert_eq!(cut.finish, Finish::Stop);
    assert_eq!(cut.text, longest.text[..longest.text.find(&stop).unwrap()]);
    let ended = run(&GenerationConfig {
        end_of_text: vec![longest.ids[3]],
        ..free.clone()
    });
    assert_eq!(ended.finish, Finish::Stop);
    let end = longest
        .ids
        .iter()
        .position(|id| *id == longest.ids[3])
        .unwrap();
    assert_eq!(ended.ids, longest.ids[..end]);
    let none = run(&GenerationConfig { tokens: 0, ..free });
    assert!(none.text.is_empty() && none.finish == Finish::Length);
}

#[test]
fn what_can_not_be_continued_is_an_error() {
    let model = model(Architecture::Gpt2);
    let config = GenerationConfig::default();
    let error = |prompts: &[Vec<u32>]| Generation::new(&model, prompts, &config).unwrap_err();
    assert!(matches!(
        error(&[vec![1], vec![]]),
        GenerateError::EmptyPrompt { row: 1 }
    ));
    assert!(matches!(error(&[]), GenerateError::Prompts(_)));
    let error = |prompt: Vec<u32>| {
        generate(&model, &tokenizer(), &[prompt], &config)
            .unwrap_err()
            .to_string()
    };
    // A row that fills the model up does not stop the others.
    let full = generate(&model, &tokenizer(), &[vec![1; 30], vec![1]], &config).unwrap();
    assert_eq!((full[0].ids.len(), full[1].ids.len()), (1, 29));
    let mut broken = model.clone();
    let bias = broken.norm.bias.take().unwrap();
    broken.norm.bias = Some(bias.map(|bias| bias.mul_scalar(f32::NAN)));
    let error_of = generate(&broken, &tokenizer(), &[vec![1]], &config).unwrap_err();
    assert!(
        matches!(error_of, GenerateError::NotFinite { row: 0 }),
        "{error_of}"
    );
    assert!(error(vec![1; 31]).contains("31 tokens"));
    assert!(error(vec![8]).contains("token id 8"));
}

#[derive(Deserialize)]
struct Golden {
    config: GenerationConfig,
    logits: Vec<f32>,
    before: Vec<u32>,
    probabilities: Vec<f64>,
}

/// See `golden/sampling.py`.
#[test]
fn distributions_are_those_of_transformers() {
    let golden: Vec<Golden> = serde_json::from_str(include_str!("golden/sampling.json")).unwrap();
    for case in golden {
        let sampler = Sampler::new(&case.config).unwrap();
        let mut ours = vec![0.0; case.logits.len()];
        for (id, probability) in sampler.distribution(&case.logits, &case.before) {
            ours[id as usize] = probability;
        }
        for (ours, theirs) in ours.iter().zip(&case.probabilities) {
            assert!(
                (ours - theirs).abs() < 1e-6,
                "{:?}: {ours} {theirs}",
                case.config
            );
            assert_eq!(*ours == 0.0, *theirs == 0.0, "{:?}", case.config);
        }
    }
}
