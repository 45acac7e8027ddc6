//! `config.json` of a Llama, read and written.

use crate::{DecoderConfig, ModelError, Rope, RopeScaling, StoredAs};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Fields that do not change what a forward pass computes.
const IRRELEVANT: &[&str] = &[
    "architectures",
    "attention_dropout",
    "auto_map",
    "chunk_size_feed_forward",
    "dtype",
    "id2label",
    "is_encoder_decoder",
    "is_llama_config",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "pretraining_tp",
    "problem_type",
    "return_dict",
    "rope_interleaved",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "use_cache",
];

/// The fields of a JSON object that were not read yet.
struct Fields<'a> {
    origin: &'a str,
    prefix: &'a str,
    rest: Map<String, Value>,
}

impl Fields<'_> {
    fn error(&self, field: &str, problem: impl ToString) -> ModelError {
        ModelError::config(self.origin, format!("{}{field}", self.prefix), problem)
    }

    fn optional<T: DeserializeOwned>(&mut self, field: &str) -> Result<Option<T>, ModelError> {
        match self.rest.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone())
                .map(Some)
                .map_err(|problem| self.error(field, format!("got {value}: {problem}"))),
        }
    }

    fn or<T: DeserializeOwned>(&mut self, field: &str, default: T) -> Result<T, ModelError> {
        Ok(self.optional(field)?.unwrap_or(default))
    }

    fn required<T: DeserializeOwned>(&mut self, field: &str) -> Result<T, ModelError> {
        self.optional(field)?
            .ok_or_else(|| self.error(field, "missing"))
    }

    fn finish(self, irrelevant: &[&str]) -> Result<(), ModelError> {
        match self
            .rest
            .keys()
            .find(|field| !field.starts_with('_') && !irrelevant.contains(&field.as_str()))
        {
            None => Ok(()),
            Some(field) => Err(self.error(
                field,
                "unknown field; remove it if it does not change what the model computes",
            )),
        }
    }
}

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

fn parse(mut fields: Fields<'_>) -> Result<DecoderConfig, ModelError> {
    let model_type: String = fields.required("model_type")?;
    if model_type != "llama" {
        let problem = format!("got \"{model_type}\", and Distily knows \"llama\"");
        return Err(fields.error("model_type", problem));
    }
    let width: usize = fields.required("hidden_size")?;
    let heads: usize = fields.required("num_attention_heads")?;
    if heads == 0 || !width.is_multiple_of(heads) {
        let problem = format!("got {heads}, expected a divisor of hidden_size, {width}");
        return Err(fields.error("num_attention_heads", problem));
    }
    let config = DecoderConfig {
        vocabulary: fields.required("vocab_size")?,
        width,
        layers: fields.required("num_hidden_layers")?,
        heads,
        kv_heads: fields.or("num_key_value_heads", heads)?,
        head_width: fields.or("head_dim", width / heads)?,
        feed_forward_width: fields.required("intermediate_size")?,
        positions: fields.or("max_position_embeddings", 2048)?,
        activation: fields.or("hidden_act", Default::default())?,
        norm_epsilon: fields.or("rms_norm_eps", 1e-6)?,
        rope: rope(&mut fields)?,
        tied_head: fields.or("tie_word_embeddings", false)?,
        attention_bias: fields.or("attention_bias", false)?,
        feed_forward_bias: fields.or("mlp_bias", false)?,
        initializer_range: fields.or("initializer_range", 0.02)?,
        begin_of_text: fields.optional("bos_token_id")?,
        end_of_text: match fields.optional::<Value>("eos_token_id")? {
            None => Vec::new(),
            Some(Value::Array(ids)) => ids
                .into_iter()
                .map(|id| token(&fields, id))
                .collect::<Result<_, _>>()?,
            Some(id) => vec![token(&fields, id)?],
        },
        padding: fields.optional("pad_token_id")?,
    };
    fields.finish(IRRELEVANT)?;
    Ok(config)
}

fn token(fields: &Fields<'_>, id: Value) -> Result<u32, ModelError> {
    serde_json::from_value(id).map_err(|problem| fields.error("eos_token_id", problem))
}

/// The rotary settings: `rope_theta` and `rope_scaling`, or transformers 5's `rope_parameters`.
fn rope(fields: &mut Fields<'_>) -> Result<Rope, ModelError> {
    let theta: f64 = fields.or("rope_theta", 10_000.0)?;
    let old: Option<Map<String, Value>> = fields.optional("rope_scaling")?;
    let new: Option<Map<String, Value>> = fields.optional("rope_parameters")?;
    let (rest, prefix) = match (old, new) {
        (_, Some(new)) => (new, "rope_parameters."),
        (Some(old), None) => (old, "rope_scaling."),
        (None, None) => {
            return Ok(Rope {
                theta,
                scaling: None,
            });
        }
    };
    let mut scaling = Fields {
        origin: fields.origin,
        prefix,
        rest,
    };
    let theta = scaling.or("rope_theta", theta)?;
    let old_name: Option<String> = scaling.optional("type")?;
    let kind: Option<String> = scaling.optional("rope_type")?;
    let scaled = match kind.or(old_name).as_deref() {
        None | Some("default") => None,
        Some("llama3") => Some(RopeScaling::Llama3 {
            factor: scaling.required("factor")?,
            low_frequency_factor: scaling.required("low_freq_factor")?,
            high_frequency_factor: scaling.required("high_freq_factor")?,
            original_positions: scaling.required("original_max_position_embeddings")?,
        }),
        Some(other) => {
            let problem = format!("got \"{other}\", expected \"default\" or \"llama3\"");
            return Err(scaling.error("rope_type", problem));
        }
    };
    scaling.finish(&[])?;
    Ok(Rope {
        theta,
        scaling: scaled,
    })
}

/// The `config.json` of a model, as transformers reads it.
pub(crate) fn write_config(config: &DecoderConfig, stored_as: StoredAs) -> Value {
    let scaling = config.rope.scaling.as_ref().map(|scaling| match scaling {
        RopeScaling::Llama3 {
            factor,
            low_frequency_factor,
            high_frequency_factor,
            original_positions,
        } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_frequency_factor,
            "high_freq_factor": high_frequency_factor,
            "original_max_position_embeddings": original_positions,
        }),
    });
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "intermediate_size": config.feed_forward_width,
        "max_position_embeddings": config.positions,
        "hidden_act": config.activation,
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope.theta,
        "rope_scaling": scaling,
        "tie_word_embeddings": config.tied_head,
        "attention_bias": config.attention_bias,
        "mlp_bias": config.feed_forward_bias,
        "initializer_range": config.initializer_range,
        "bos_token_id": config.begin_of_text,
        "eos_token_id": match config.end_of_text.as_slice() {
            [] => Value::Null,
            [id] => json!(id),
            ids => json!(ids),
        },
        "pad_token_id": config.padding,
        "torch_dtype": stored_as.torch_name(),
    })
}
