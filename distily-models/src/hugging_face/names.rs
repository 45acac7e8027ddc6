//! Where Hugging Face's files keep our parameters.

use crate::fill::Parameter;
use crate::{Architecture, DecoderConfig};
use std::ops::Range;

/// Where a file keeps a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The tensor.
    pub(crate) tensor: String,
    /// The tensor's shape.
    pub(crate) shape: Vec<usize>,
    /// Whether it is transposed: burn's linear layers are `[inputs, outputs]`, torch's
    /// `[outputs, inputs]`.
    pub(crate) transposed: bool,
    /// The outputs that are the parameter's: projections may share a tensor.
    pub(crate) outputs: Range<usize>,
}

/// What is left of the model's name where it stands before the blocks.
fn prefix(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Gpt2 => "transformer.",
        _ => "model.",
    }
}

/// Where the files of a model keep a parameter.
pub(crate) fn place(config: &DecoderConfig, parameter: &Parameter<'_>) -> Place {
    let path = parameter.path;
    let outputs = parameter.shape.last().copied().unwrap_or(0);
    let whole = |tensor: String, transposed: bool| Place {
        tensor,
        shape: match (transposed, parameter.shape) {
            (true, &[inputs, outputs]) => vec![outputs, inputs],
            (_, shape) => shape.to_vec(),
        },
        transposed,
        outputs: 0..outputs,
    };
    if path.starts_with("lm_head") {
        return whole(path.to_owned(), parameter.in_linear);
    }
    let (module, kind) = path.rsplit_once('.').unwrap_or(("", path));
    let (parent, layer) = module.rsplit_once('.').unwrap_or(("", module));
    // A linear layer of GPT-2 is a `Conv1D`, which lies as burn's.
    let conv = config.architecture == Architecture::Gpt2;
    let transposed = parameter.in_linear && !conv;
    let (queries, keys) = (
        config.heads * config.head_width,
        config.kv_heads * config.head_width,
    );
    let inner = config.feed_forward_width;
    let fused = match (config.architecture, layer) {
        (Architecture::Gpt2, "q_proj" | "k_proj" | "v_proj") => Some("c_attn"),
        (Architecture::Phi3, "q_proj" | "k_proj" | "v_proj") => Some("qkv_proj"),
        (Architecture::Phi3, "gate_proj" | "up_proj") => Some("gate_up_proj"),
        _ => None,
    };
    let name = |layer: &str| {
        let path = match parent {
            "" => format!("{layer}.{kind}"),
            parent => format!("{parent}.{layer}.{kind}"),
        };
        let path = if conv { gpt2(&path) } else { path };
        format!("{}{path}", prefix(config.architecture))
    };
    let Some(fused) = fused else {
        return whole(name(layer), transposed);
    };
    let start = match layer {
        "k_proj" => queries,
        "v_proj" => queries + keys,
        "up_proj" => inner,
        _ => 0,
    };
    let all = match fused {
        "gate_up_proj" => 2 * inner,
        _ => queries + 2 * keys,
    };
    Place {
        tensor: name(fused),
        shape: match *parameter.shape {
            [inputs, _] if transposed => vec![all, inputs],
            [inputs, _] => vec![inputs, all],
            _ => vec![all],
        },
        transposed,
        outputs: start..start + outputs,
    }
}

/// From our names to GPT-2's.
fn gpt2(path: &str) -> String {
    path.split('.')
        .map(|name| match name {
            "embed_tokens" => "wte",
            "embed_positions" => "wpe",
            "layers" => "h",
            "norm" => "ln_f",
            "input_layernorm" => "ln_1",
            "post_attention_layernorm" => "ln_2",
            "self_attn" => "attn",
            "o_proj" | "down_proj" => "c_proj",
            "up_proj" => "c_fc",
            other => other,
        })
        .collect::<Vec<_>>()
        .join(".")
}

/// Whether files may hold a tensor of this name that is no parameter: older ones hold rotary
/// frequencies or causal masks, and some a copy of a tied head.
pub(crate) fn is_known_buffer(config: &DecoderConfig, name: &str) -> bool {
    let buffers: &[&str] = match config.architecture {
        Architecture::Gpt2 => &[".attn.bias", ".attn.masked_bias"],
        _ => &[".rotary_emb.inv_freq"],
    };
    buffers.iter().any(|buffer| name.ends_with(buffer))
        || (config.tied_head && name == "lm_head.weight")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(architecture: Architecture, path: &str, shape: &[usize]) -> Place {
        let config = DecoderConfig {
            heads: 4,
            kv_heads: if architecture == Architecture::Gpt2 {
                4
            } else {
                2
            },
            head_width: 8,
            width: 32,
            feed_forward_width: 64,
            ..DecoderConfig::of(architecture)
        };
        let in_linear = path.contains("proj") || path.contains("lm_head");
        place(
            &config,
            &Parameter {
                path,
                shape,
                in_linear,
            },
        )
    }

    #[test]
    fn gpt2_fuses_by_columns() {
        let value = placed(
            Architecture::Gpt2,
            "layers.3.self_attn.v_proj.weight",
            &[32, 32],
        );
        assert_eq!(value.tensor, "transformer.h.3.attn.c_attn.weight");
        assert_eq!((value.shape, value.outputs), (vec![32, 96], 64..96));
        assert!(!value.transposed);
        let bias = placed(Architecture::Gpt2, "layers.3.self_attn.k_proj.bias", &[32]);
        assert_eq!((bias.shape, bias.outputs), (vec![96], 32..64));
        let down = placed(
            Architecture::Gpt2,
            "layers.0.mlp.down_proj.weight",
            &[64, 32],
        );
        assert_eq!(down.tensor, "transformer.h.0.mlp.c_proj.weight");
        let norm = placed(Architecture::Gpt2, "norm.weight", &[32]);
        assert_eq!(norm.tensor, "transformer.ln_f.weight");
        let head = placed(Architecture::Gpt2, "lm_head.weight", &[32, 50]);
        assert_eq!(
            (head.tensor.as_str(), head.transposed),
            ("lm_head.weight", true)
        );
    }

    #[test]
    fn phi3_fuses_by_rows() {
        let key = placed(
            Architecture::Phi3,
            "layers.1.self_attn.k_proj.weight",
            &[32, 16],
        );
        assert_eq!(key.tensor, "model.layers.1.self_attn.qkv_proj.weight");
        assert_eq!((key.shape, key.outputs), (vec![64, 32], 32..48));
        let up = placed(Architecture::Phi3, "layers.1.mlp.up_proj.weight", &[32, 64]);
        assert_eq!(up.tensor, "model.layers.1.mlp.gate_up_proj.weight");
        assert_eq!((up.shape, up.outputs), (vec![128, 32], 64..128));
    }

    #[test]
    fn the_others_are_named_as_ours() {
        let query = placed(
            Architecture::Qwen3,
            "layers.0.self_attn.q_norm.weight",
            &[8],
        );
        assert_eq!(query.tensor, "model.layers.0.self_attn.q_norm.weight");
    }
}
