//! `config.json` files as they are published: what they say is read, and what is close to a known
//! architecture but not it is refused by name.
#![allow(clippy::unwrap_used)]

use distily_models::{Activation, Architecture, DecoderConfig, RopeScaling, SlidingWindow};
use serde_json::{Value, json};

fn read(config: &Value) -> Result<DecoderConfig, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    DecoderConfig::load(folder.path()).map_err(|error| error.to_string())
}

fn with(mut config: Value, field: &str, value: Value) -> Value {
    config[field] = value;
    config
}

fn gpt2() -> Value {
    json!({
        "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
        "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-5, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12,
        "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null,
        "summary_first_dropout": 0.1, "summary_proj_to_labels": true, "summary_type": "cls_index",
        "summary_use_proj": true, "vocab_size": 50257,
        "task_specific_params": { "text-generation": { "do_sample": true, "max_length": 50 } }
    })
}

fn mistral() -> Value {
    json!({
        "architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
        "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral",
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 4096,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.34.0",
        "use_cache": true, "vocab_size": 32000
    })
}

fn qwen2() -> Value {
    json!({
        "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
        "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896,
        "initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 32768,
        "max_window_layers": 24, "model_type": "qwen2", "num_attention_heads": 14,
        "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
        "torch_dtype": "bfloat16", "transformers_version": "4.40.1", "use_cache": true,
        "use_mrope": false, "use_sliding_window": false, "vocab_size": 151936
    })
}

fn qwen3() -> Value {
    json!({
        "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu",
        "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072,
        "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
        "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
        "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true,
        "use_sliding_window": false, "vocab_size": 151936
    })
}

fn phi3() -> Value {
    json!({
        "architectures": ["Phi3ForCausalLM"], "attention_dropout": 0.0, "auto_map": {},
        "bos_token_id": 1, "embd_pdrop": 0.0, "eos_token_id": 32000, "hidden_act": "silu",
        "hidden_size": 3072, "initializer_range": 0.02, "intermediate_size": 8192,
        "max_position_embeddings": 131072, "model_type": "phi3", "num_attention_heads": 32,
        "num_hidden_layers": 32, "num_key_value_heads": 32,
        "original_max_position_embeddings": 4096, "pad_token_id": 32000, "resid_pdrop": 0.0,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 262144,
        "rope_scaling": {
            "long_factor": vec![2.0; 48], "short_factor": vec![1.0; 48], "type": "longrope"
        },
        "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
        "attention_bias": false, "vocab_size": 32064
    })
}

fn llama3() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64,
        "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
        "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
        "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16,
        "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"
        },
        "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "use_cache": true, "vocab_size": 128256
    })
}

#[test]
fn gpt2_is_read() {
    let config = read(&gpt2()).unwrap();
    assert_eq!(config.architecture, Architecture::Gpt2);
    assert_eq!(
        (config.width, config.heads, config.head_width),
        (768, 12, 64)
    );
    assert_eq!((config.feed_forward_width, config.positions), (3072, 1024));
    assert_eq!(config.activation, Activation::GeluTanh);
    assert!(config.tied_head);
}

#[test]
fn mistral_slides_where_its_file_says_so() {
    let window = |config| read(&config).unwrap().sliding_window;
    let all = SlidingWindow {
        tokens: 4096,
        first_layer: 0,
    };
    assert_eq!(window(mistral()), Some(all));
    assert_eq!(window(with(mistral(), "sliding_window", Value::Null)), None);
    let mut silent = mistral();
    silent.as_object_mut().unwrap().remove("sliding_window");
    assert!(read(&silent).unwrap_err().contains("`sliding_window`"));
}

#[test]
fn qwen_slides_from_a_layer_on_if_at_all() {
    let config = read(&qwen2()).unwrap();
    assert_eq!((config.sliding_window, config.head_width), (None, 64));
    assert!(!config.attention_bias, "the biases are the architecture's");
    let mut sliding = with(qwen2(), "use_sliding_window", json!(true));
    sliding["max_window_layers"] = json!(20);
    let window = SlidingWindow {
        tokens: 32768,
        first_layer: 20,
    };
    assert_eq!(read(&sliding).unwrap().sliding_window, Some(window));
    let error = read(&with(qwen2(), "use_mrope", json!(true))).unwrap_err();
    assert!(error.contains("`use_mrope`"), "{error}");
}

#[test]
fn qwen3_has_a_head_width_of_its_own() {
    let config = read(&qwen3()).unwrap();
    assert_eq!(
        (config.width, config.heads, config.head_width),
        (1024, 16, 128)
    );
    assert_eq!(config.sliding_window, None);
    let mut config = with(qwen3(), "use_sliding_window", json!(true));
    config["sliding_window"] = json!(512);
    config["max_window_layers"] = json!(20);
    let window = read(&config).unwrap().sliding_window.unwrap();
    assert_eq!((window.tokens, window.first_layer), (512, 20));
    let alternating: Vec<&str> = (0..28)
        .map(|layer| ["full_attention", "sliding_attention"][layer % 2])
        .collect();
    let error = read(&with(config, "layer_types", json!(alternating))).unwrap_err();
    assert!(error.contains("`layer_types`"), "{error}");
}

#[test]
fn phi3_turns_by_long_factors() {
    let config = read(&phi3()).unwrap();
    let Some(RopeScaling::LongRope {
        long_factors,
        original_positions,
        attention_factor,
        ..
    }) = config.rope.scaling
    else {
        panic!("{:?}", config.rope);
    };
    assert_eq!((long_factors.len(), original_positions), (48, 4096));
    // sqrt(1 + ln 32 / ln 4096), by LongRoPE's paper.
    assert!(
        (attention_factor - 1.190_238).abs() < 1e-6,
        "{attention_factor}"
    );
    let mut few = phi3();
    few["rope_scaling"]["long_factor"] = json!([1.0, 2.0]);
    let error = read(&few).unwrap_err();
    assert!(
        error.contains("long_factor") && error.contains("48"),
        "{error}"
    );
}

#[test]
fn llama3_is_read() {
    let config = read(&llama3()).unwrap();
    assert_eq!(config.end_of_text, [128001, 128008, 128009]);
    assert!(matches!(
        config.rope.scaling,
        Some(RopeScaling::Llama3 { .. })
    ));
}

#[test]
fn what_is_close_to_a_known_architecture_is_refused_by_name() {
    for name in [
        "gemma",
        "gemma2",
        "gemma3_text",
        "smollm3",
        "olmo2",
        "phi",
        "phimoe",
        "qwen2_moe",
        "qwen3_moe",
        "mixtral",
        "gpt_neox",
        "granite",
        "cohere",
        "minicpm",
    ] {
        let error = read(&with(llama3(), "model_type", json!(name))).unwrap_err();
        assert!(
            error.contains(&format!("\"{name}\"")) && error.contains("qwen3"),
            "{error}"
        );
    }
}

#[test]
fn a_setting_that_changes_the_result_is_refused_by_name() {
    for (config, field, value) in [
        (gpt2(), "scale_attn_by_inverse_layer_idx", json!(true)),
        (gpt2(), "scale_attn_weights", json!(false)),
        (gpt2(), "add_cross_attention", json!(true)),
        (gpt2(), "activation_function", json!("quick_gelu")),
        (mistral(), "attention_bias", json!(true)),
        (mistral(), "layer_types", json!(["full_attention"])),
        (qwen3(), "mlp_bias", json!(true)),
        (phi3(), "lm_head_bias", json!(true)),
        (phi3(), "full_attn_mod", json!(2)),
        (llama3(), "partial_rotary_factor", json!(0.5)),
        (llama3(), "sliding_window", json!(4096)),
        (llama3(), "quantization_config", json!({ "bits": 4 })),
        (llama3(), "logits_scaling", json!(8.0)),
        (qwen3(), "num_key_value_heads", Value::Null),
    ] {
        let error = read(&with(config, field, value)).unwrap_err();
        assert!(error.contains(&format!("`{field}`")), "{field}: {error}");
    }
}

#[test]
fn an_unknown_kind_of_rope_is_refused_by_name() {
    for kind in ["dynamic", "yarn", "ntk", "mrope", "proportional"] {
        for place in ["rope_scaling", "rope_parameters"] {
            let rope = json!({ "rope_type": kind, "factor": 4.0 });
            let error = read(&with(llama3(), place, rope)).unwrap_err();
            assert!(error.contains(&format!("\"{kind}\"")), "{error}");
        }
    }
    // Of a known kind, an unknown setting.
    let mut config = llama3();
    config["rope_scaling"]["beta_fast"] = json!(32);
    let error = read(&config).unwrap_err();
    assert!(error.contains("`rope_scaling.beta_fast`"), "{error}");
}
