//! Whatever is wrong with a folder is an error that names the file and the field, never a panic.
#![allow(clippy::unwrap_used)]

use burn::tensor::Device;
use distily_core::{LanguageModel, Seed, Taps, TokenBatch};
use distily_models::{
    Decoder, DecoderConfig, Inheritance, ModelError, StoredAs, StudentConfig, freeze,
};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn small() -> DecoderConfig {
    DecoderConfig {
        vocabulary: 20,
        width: 16,
        layers: 2,
        heads: 2,
        kv_heads: 1,
        head_width: 8,
        feed_forward_width: 24,
        positions: 32,
        ..DecoderConfig::default()
    }
}

fn saved() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = Decoder::random(&small(), Seed(1), &Device::flex()).unwrap();
    model.save(folder.path(), StoredAs::F32).unwrap();
    folder
}

fn error(folder: &Path) -> String {
    Decoder::load(folder, &Device::flex())
        .unwrap_err()
        .to_string()
}

/// Loads a good folder whose `config.json` has one field changed.
fn with_field(field: &str, value: serde_json::Value) -> String {
    let folder = saved();
    let path = folder.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config[field] = value;
    fs::write(&path, config.to_string()).unwrap();
    error(folder.path())
}

fn assert_names(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn a_missing_file() {
    let folder = saved();
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert_names(
        &error(folder.path()),
        &["model.safetensors", "No such file"],
    );
    fs::remove_file(folder.path().join("config.json")).unwrap();
    assert_names(&error(folder.path()), &["config.json", "No such file"]);
}

#[test]
fn a_truncated_file() {
    let folder = saved();
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    for length in [0, 7, 8, 100, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_names(&error(folder.path()), &["model.safetensors"]);
    }
}

#[test]
fn a_header_that_claims_more_than_there_is() {
    let folder = saved();
    let path = folder.path().join("model.safetensors");
    for claim in [u64::MAX, 1 << 40, 99_000_000] {
        let mut bytes = fs::read(&path).unwrap();
        bytes[..8].copy_from_slice(&claim.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        assert_names(&error(folder.path()), &["model.safetensors", "truncated"]);
    }
}

#[test]
fn a_shape_that_does_not_fit() {
    let error = with_field("intermediate_size", 32.into());
    assert_names(
        &error,
        &["model.safetensors", "mlp", "[24, 16]", "[32, 16]"],
    );
}

#[test]
fn a_tensor_without_a_place() {
    let error = with_field("num_hidden_layers", 1.into());
    assert_names(
        &error,
        &["model.safetensors", "model.layers.1.", "no place"],
    );
}

#[test]
fn a_tensor_that_is_missing() {
    let error = with_field("num_hidden_layers", 3.into());
    assert_names(&error, &["model.safetensors", "model.layers.2.", "missing"]);
}

#[test]
fn an_unknown_architecture() {
    let error = with_field("model_type", "gemma2".into());
    assert_names(&error, &["config.json", "`model_type`", "gemma2", "llama"]);
}

#[test]
fn an_unknown_field() {
    let error = with_field("final_logit_softcapping", 30.into());
    assert_names(
        &error,
        &["config.json", "`final_logit_softcapping`", "unknown"],
    );
}

#[test]
fn an_unknown_rope() {
    let rope = serde_json::json!({ "rope_type": "yarn", "factor": 4.0 });
    let error = with_field("rope_scaling", rope);
    assert_names(
        &error,
        &["config.json", "`rope_scaling.rope_type`", "yarn", "llama3"],
    );
}

#[test]
fn zero_layers() {
    let error = with_field("num_hidden_layers", 0.into());
    assert_names(&error, &["config.json", "`num_hidden_layers`", "got 0"]);
}

#[test]
fn heads_that_do_not_divide_the_width() {
    let error = with_field("num_attention_heads", 3.into());
    assert_names(
        &error,
        &["config.json", "`num_attention_heads`", "got 3", "16"],
    );
}

#[test]
fn a_number_that_is_none() {
    let error = with_field("hidden_size", "wide".into());
    assert_names(&error, &["config.json", "`hidden_size`", "wide"]);
    let error = with_field("hidden_size", (1u64 << 40).into());
    assert_names(&error, &["config.json", "`hidden_size`"]);
}

#[test]
fn an_index_can_not_lead_out_of_its_folder() {
    let folder = saved();
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let index = r#"{ "weight_map": { "model.norm.weight": "../other.safetensors" } }"#;
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    assert_names(
        &error(folder.path()),
        &["model.safetensors.index.json", "../other"],
    );
}

#[test]
fn a_batch_that_the_model_can_not_run() {
    let model = Decoder::random(&small(), Seed(1), &Device::flex()).unwrap();
    let run = |ids: Vec<u32>, taps: &Taps| {
        let length = ids.len();
        let batch = TokenBatch::new(ids, [1, length]).unwrap();
        model.forward(&batch, taps).unwrap_err().to_string()
    };
    assert_names(&run(vec![20], &Taps::none()), &["20", "vocabulary"]);
    assert_names(
        &run(vec![1; 33], &Taps::none()),
        &["33 tokens", "32 positions"],
    );
    let taps = Taps::none().with(2, distily_core::Feature::Hidden);
    assert_names(&run(vec![1], &taps), &["layer 2", "2 layers"]);
}

#[test]
fn a_student_that_can_not_be() {
    let device = Device::flex();
    let teacher = Decoder::random(&small(), Seed(1), &device).unwrap();
    let heads = StudentConfig {
        heads: Some(3),
        ..StudentConfig::default()
    };
    assert_names(
        &heads.of(&small()).unwrap_err().to_string(),
        &["`heads`", "3 heads", "16"],
    );
    let narrow = StudentConfig {
        width: Some(8),
        ..StudentConfig::default()
    }
    .of(&small())
    .unwrap();
    let student = |config: &DecoderConfig, inheritance: &Inheritance| -> ModelError {
        Decoder::student(config, &teacher, inheritance, Seed(0), &device).unwrap_err()
    };
    let error = student(&narrow, &Inheritance::with_blocks([0, 1])).to_string();
    assert_names(&error, &["embed_tokens.weight", "[20, 8]", "[20, 16]"]);
    let error = student(&small(), &Inheritance::with_blocks([0])).to_string();
    assert_names(&error, &["1 blocks", "2 layers"]);
    let error = student(&small(), &Inheritance::with_blocks([0, 2])).to_string();
    assert_names(&error, &["block 2", "0 to 1"]);
    let error = freeze(teacher.clone(), &["embedding"])
        .unwrap_err()
        .to_string();
    assert_names(
        &error,
        &["`embedding`", "no parameter", "embed_tokens.weight"],
    );
    assert!(freeze(teacher.clone(), &["("]).is_err());
}

#[test]
fn blocks_keep_what_they_need_in_another_architecture() {
    use distily_models::Architecture::{Gpt2, Llama, Mistral, Phi3, Qwen2, Qwen3};
    let device = Device::flex();
    let blocks = Inheritance::with_blocks([0, 1]);
    let of = |teacher: &DecoderConfig, architecture| {
        let teacher = Decoder::random(teacher, Seed(1), &device).unwrap();
        let config = StudentConfig {
            architecture: Some(architecture),
            ..StudentConfig::default()
        };
        let config = config.of(teacher.config()).unwrap();
        let student = Decoder::student(&config, &teacher, &blocks, Seed(2), &device)?;
        let batch = TokenBatch::new((0..12).map(|id| id % 9).collect(), [1, 12]).unwrap();
        let logits = |model: &Decoder| model.forward(&batch, &Taps::logits()).unwrap().logits;
        let difference = logits(&student).unwrap() - logits(&teacher).unwrap();
        Ok::<_, ModelError>(difference.abs().max().into_scalar::<f32>())
    };
    let base = |architecture| DecoderConfig {
        architecture,
        rope: distily_models::Rope {
            theta: 500.0,
            ..Default::default()
        },
        initializer_range: 0.3,
        ..small()
    };
    for (teacher, student) in [
        (Llama, Mistral),
        (Llama, Phi3),
        (Qwen2, Llama),
        (Mistral, Qwen2),
    ] {
        let difference = of(&base(teacher), student).unwrap();
        assert!(
            difference < 1e-5,
            "{teacher:?} to {student:?}: {difference}"
        );
    }
    let error = of(&base(Qwen3), Llama).unwrap_err().to_string();
    assert_names(&error, &["q_norm", "llama has no place"]);
    let sliding = DecoderConfig {
        sliding_window: Some(distily_models::SlidingWindow {
            tokens: 4,
            first_layer: 0,
        }),
        ..base(Mistral)
    };
    assert!(of(&sliding, Phi3).unwrap() < 1e-5);
    let error = of(&sliding, Llama).unwrap_err().to_string();
    assert_names(&error, &["block 0", "Some(4)"]);
    let error = of(&base(Llama), Gpt2).unwrap_err().to_string();
    assert_names(&error, &["gate_proj"]);
}

#[test]
fn a_gpt2_of_a_grouped_teacher_has_a_key_head_for_each() {
    let teacher = DecoderConfig {
        heads: 4,
        kv_heads: 2,
        head_width: 4,
        ..small()
    };
    let narrow = StudentConfig {
        architecture: Some(distily_models::Architecture::Gpt2),
        width: Some(8),
        ..StudentConfig::default()
    };
    let config = narrow.of(&teacher).unwrap();
    assert_eq!((config.heads, config.kv_heads), (2, 2));
    let broken = DecoderConfig {
        kv_heads: 0,
        ..teacher
    };
    assert_names(
        &narrow.of(&broken).unwrap_err().to_string(),
        &["the teacher", "got 0"],
    );
}

#[test]
fn a_padded_vocabulary_keeps_the_teachers_rows() {
    let device = Device::flex();
    for tied_head in [true, false] {
        let shape = DecoderConfig {
            tied_head,
            ..small()
        };
        let teacher = Decoder::random(&shape, Seed(1), &device).unwrap();
        let padded = StudentConfig {
            vocabulary_multiple_of: Some(16),
            ..StudentConfig::default()
        };
        let config = padded.of(&shape).unwrap();
        assert_eq!(config.vocabulary, 32);
        let inheritance = Inheritance::with_blocks([0, 1]);
        let student = Decoder::student(&config, &teacher, &inheritance, Seed(2), &device).unwrap();
        let batch = TokenBatch::new(vec![1, 2, 3], [1, 3]).unwrap();
        let logits = |model: &Decoder| {
            model
                .forward(&batch, &Taps::logits())
                .unwrap()
                .logits
                .unwrap()
        };
        let shared = logits(&student).narrow(2, 0, 20);
        let difference = (shared - logits(&teacher)).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-6, "tied {tied_head}: {difference}");
    }
}

proptest! {
    /// Any single byte may be anything: an error or a model, never a panic.
    #[test]
    fn a_flipped_byte_never_panics(at in 0usize..3000, value in any::<u8>()) {
        let folder = saved();
        let path = folder.path().join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] = value;
        fs::write(&path, bytes).unwrap();
        let _ = Decoder::load(folder.path(), &Device::flex());
    }
}
