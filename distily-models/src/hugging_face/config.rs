//! `config.json`, read and written.

use super::fields::Fields;
use super::rope::{read_rope, write_scaling};
use crate::config::not_a_divisor;
use crate::{Architecture, DecoderConfig, ModelError, RopeScaling, SlidingWindow, StoredAs};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Fields that do not change what a forward pass computes.
const IRRELEVANT: &[&str] = &[
    "architectures",
    "attention_dropout",
    "attn_pdrop",
    "auto_map",
    "chunk_size_feed_forward",
    "dtype",
    "embd_pdrop",
    "gradient_checkpointing",
    "id2label",
    "is_encoder_decoder",
    "is_llama_config",
    "label2id",
    "n_ctx",
    "output_attentions",
    "output_hidden_states",
    "pretraining_tp",
    "problem_type",
    "reorder_and_upcast_attn",
    "resid_pdrop",
    "return_dict",
    "rope_interleaved",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "task_specific_params",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "use_cache",
];

/// Reads a `config.json`.
pub(crate) fn read_config(path: &Path) -> Result<DecoderConfig, ModelError> {
    let text = std::fs::read(path).map_err(ModelError::io(path))?;
    let rest = serde_json::from_slice(&text).map_err(|problem| ModelError::file(path, problem))?;
    let origin = path.display().to_string();
    let config = parse(Fields {
        origin: &origin,
        prefix: "",
        rest,
    })?;
    config.check(&origin)?;
    Ok(config)
}

fn architecture(fields: &mut Fields<'_>) -> Result<Architecture, ModelError> {
    let model_type: String = fields.required("model_type")?;
    let known = |architecture: &Architecture| architecture.model_type() == model_type;
    Architecture::ALL.into_iter().find(known).ok_or_else(|| {
        let all = Architecture::ALL.map(Architecture::model_type).join(", ");
        fields.error(
            "model_type",
            format!("got \"{model_type}\", and Distily knows {all}"),
        )
    })
}

fn parse(mut fields: Fields<'_>) -> Result<DecoderConfig, ModelError> {
    let architecture = architecture(&mut fields)?;
    let name = |field| architecture.field(field);
    let width: usize = fields.required(name("hidden_size"))?;
    let layers = fields.required(name("num_hidden_layers"))?;
    let heads: usize = fields.required(name("num_attention_heads"))?;
    let default = Defaults::of(architecture);
    let positions = fields.or(name("max_position_embeddings"), default.positions)?;
    let head_width = match (architecture, fields.optional("head_dim")?) {
        (Architecture::Qwen3, None) => 128,
        (_, Some(head_width)) => head_width,
        (_, None) if heads != 0 && width.is_multiple_of(heads) => width / heads,
        (_, None) => {
            let field = name("num_attention_heads");
            return Err(fields.error(field, not_a_divisor(heads, width)));
        }
    };
    if architecture == Architecture::Gpt2 {
        fields.must_be("scale_attn_weights", json!(true))?;
        fields.must_be("scale_attn_by_inverse_layer_idx", json!(false))?;
        fields.must_be("add_cross_attention", json!(false))?;
    }
    for field in ["attention_bias", "mlp_bias"] {
        let may = match field {
            "mlp_bias" => architecture.may_have_feed_forward_bias(),
            _ => architecture.may_have_attention_bias(),
        };
        if !may {
            fields.must_be(field, json!(false))?;
        }
    }
    if architecture == Architecture::Qwen2 {
        fields.must_be("use_mrope", json!(false))?;
    }
    if architecture == Architecture::Phi3 {
        fields.must_be("lm_head_bias", json!(false))?;
        fields.must_be("full_attn_mod", json!(1))?;
        fields.must_be("interpolate_factor", json!(1))?;
    }
    let config = DecoderConfig {
        architecture,
        vocabulary: fields.required("vocab_size")?,
        width,
        layers,
        heads,
        kv_heads: match architecture {
            Architecture::Gpt2 => heads,
            // Here a missing number is one of transformers' own choice.
            Architecture::Mistral | Architecture::Qwen2 | Architecture::Qwen3 => {
                fields.required("num_key_value_heads")?
            }
            Architecture::Llama | Architecture::Phi3 => fields.or("num_key_value_heads", heads)?,
        },
        head_width,
        feed_forward_width: match architecture {
            Architecture::Gpt2 => fields.or("n_inner", width.saturating_mul(4))?,
            _ => fields.required("intermediate_size")?,
        },
        positions,
        activation: fields.or(name("hidden_act"), default.activation)?,
        norm_epsilon: fields.or(name("rms_norm_eps"), default.norm_epsilon)?,
        rope: if architecture.learns_positions() {
            Default::default()
        } else {
            read_rope(&mut fields, architecture, positions)?
        },
        sliding_window: read_window(&mut fields, architecture, layers)?,
        tied_head: fields.or("tie_word_embeddings", default.tied_head)?,
        attention_bias: fields.or("attention_bias", false)?,
        feed_forward_bias: fields.or("mlp_bias", false)?,
        initializer_range: fields.or("initializer_range", 0.02)?,
        begin_of_text: fields.optional("bos_token_id")?,
        end_of_text: ends(&mut fields)?,
        padding: fields.optional("pad_token_id")?,
    };
    fields.finish(IRRELEVANT)?;
    Ok(config)
}

/// What transformers takes for a field that a file does not say.
struct Defaults {
    positions: usize,
    norm_epsilon: f64,
    activation: crate::Activation,
    tied_head: bool,
}

impl Defaults {
    fn of(architecture: Architecture) -> Self {
        let (positions, norm_epsilon) = match architecture {
            Architecture::Llama => (2048, 1e-6),
            Architecture::Gpt2 => (1024, 1e-5),
            Architecture::Mistral => (131_072, 1e-6),
            Architecture::Qwen2 | Architecture::Qwen3 => (32_768, 1e-6),
            Architecture::Phi3 => (4096, 1e-5),
        };
        Self {
            positions,
            norm_epsilon,
            activation: DecoderConfig::of(architecture).activation,
            tied_head: architecture == Architecture::Gpt2,
        }
    }
}

/// `eos_token_id`: none, one or several.
fn ends(fields: &mut Fields<'_>) -> Result<Vec<u32>, ModelError> {
    let token = |fields: &Fields<'_>, id: Value| {
        serde_json::from_value(id).map_err(|problem| fields.error("eos_token_id", problem))
    };
    match fields.optional::<Value>("eos_token_id")? {
        None => Ok(Vec::new()),
        Some(Value::Array(ids)) => ids.into_iter().map(|id| token(fields, id)).collect(),
        Some(id) => Ok(vec![token(fields, id)?]),
    }
}

/// The tokens that end a text by a `generation_config.json`; none, if there is no such file. What else
/// it says is how its publisher would sample.
pub(crate) fn read_ends(path: &Path) -> Result<Vec<u32>, ModelError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ModelError::io(path)(error)),
    };
    let rest = serde_json::from_slice(&text).map_err(|problem| ModelError::file(path, problem))?;
    ends(&mut Fields {
        origin: &path.display().to_string(),
        prefix: "",
        rest,
    })
}

/// `sliding_window`, and where it begins: Qwen's `use_sliding_window` and `max_window_layers`, or
/// their newer `layer_types`.
fn read_window(
    fields: &mut Fields<'_>,
    architecture: Architecture,
    layers: usize,
) -> Result<Option<SlidingWindow>, ModelError> {
    if !architecture.may_slide() {
        return Ok(None);
    }
    let said = fields.rest.contains_key("sliding_window");
    let tokens: Option<usize> = fields.optional("sliding_window")?;
    if !architecture.may_slide_partly() {
        if architecture == Architecture::Mistral && !said {
            let problem = "missing; null for none, and transformers takes 4096";
            return Err(fields.error("sliding_window", problem));
        }
        return Ok(tokens.map(|tokens| SlidingWindow {
            tokens,
            first_layer: 0,
        }));
    }
    let used = fields.or("use_sliding_window", false)?;
    let first_layer = fields.or("max_window_layers", 28)?;
    let kinds: Option<Vec<String>> = fields.optional("layer_types")?;
    let first_layer = match kinds {
        None => first_layer,
        Some(kinds) => {
            let slides = |kind: &String| kind == "sliding_attention";
            let first = kinds.iter().position(slides).unwrap_or(kinds.len());
            let known = kinds[..first].iter().all(|kind| kind == "full_attention")
                && kinds[first..].iter().all(slides);
            if kinds.len() != layers || !known {
                let problem = format!(
                    "got {} for {layers} layers, expected one for each: \"full_attention\" up to some layer, \"sliding_attention\" from there on",
                    json!(kinds)
                );
                return Err(fields.error("layer_types", problem));
            }
            first
        }
    };
    match tokens {
        Some(tokens) if used => Ok(Some(SlidingWindow {
            tokens,
            first_layer,
        })),
        _ => Ok(None),
    }
}

/// The `config.json` of a model, as transformers reads it.
pub(crate) fn write_config(config: &DecoderConfig, stored_as: StoredAs) -> Value {
    let architecture = config.architecture;
    let mut fields = Map::new();
    let mut put = |field: &'static str, value: Value| {
        fields.insert(architecture.field(field).to_owned(), value);
    };
    put("architectures", json!([architecture.class()]));
    put("model_type", json!(architecture.model_type()));
    put("vocab_size", json!(config.vocabulary));
    put("hidden_size", json!(config.width));
    put("num_hidden_layers", json!(config.layers));
    put("num_attention_heads", json!(config.heads));
    put("intermediate_size", json!(config.feed_forward_width));
    put("max_position_embeddings", json!(config.positions));
    put("hidden_act", json!(config.activation));
    put("rms_norm_eps", json!(config.norm_epsilon));
    if architecture != Architecture::Gpt2 {
        put("num_key_value_heads", json!(config.kv_heads));
        put("head_dim", json!(config.head_width));
        put("rope_theta", json!(config.rope.theta));
        let scaling = write_scaling(&config.rope, config.positions);
        put("rope_scaling", scaling);
        if let Some(RopeScaling::LongRope {
            original_positions: original,
            ..
        }) = config.rope.scaling
        {
            put("original_max_position_embeddings", json!(original));
        }
    }
    if architecture == Architecture::Phi3 {
        put("partial_rotary_factor", json!(config.rope.turning_share));
    }
    if architecture.may_slide() {
        let window = config.sliding_window;
        put("sliding_window", json!(window.map(|window| window.tokens)));
        if architecture.may_slide_partly() {
            let first = window.map_or(config.layers, |window| window.first_layer);
            put("use_sliding_window", json!(window.is_some()));
            put("max_window_layers", json!(first));
        }
    }
    if architecture.may_have_attention_bias() {
        put("attention_bias", json!(config.attention_bias));
    }
    if architecture.may_have_feed_forward_bias() {
        put("mlp_bias", json!(config.feed_forward_bias));
    }
    put("tie_word_embeddings", json!(config.tied_head));
    put("initializer_range", json!(config.initializer_range));
    put("bos_token_id", json!(config.begin_of_text));
    put(
        "eos_token_id",
        match config.end_of_text.as_slice() {
            [] => Value::Null,
            [id] => json!(id),
            ids => json!(ids),
        },
    );
    put("pad_token_id", json!(config.padding));
    put("torch_dtype", json!(stored_as.torch_name()));
    Value::Object(fields)
}
