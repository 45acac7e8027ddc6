use serde::{Deserialize, Serialize};

/// A family of decoders, named as the `model_type` of a Hugging Face `config.json`.
///
/// It says which parts a [`Decoder`](crate::Decoder) is built from, and how its files name them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Architecture {
    /// Llama 2 and 3, SmolLM2, TinyLlama: RMS norms, rotary positions, grouped-query heads, a gated
    /// feed-forward block.
    #[default]
    Llama,
    /// GPT-2: layer norms, learned positions, a plain feed-forward block, biases everywhere.
    Gpt2,
    /// Mistral: a Llama with a sliding window.
    Mistral,
    /// Qwen2 and Qwen2.5: a Llama with biases on queries, keys and values.
    Qwen2,
    /// Qwen3: a Llama with an RMS norm over each query and key head.
    Qwen3,
    /// Phi-3: a Llama with fused projections, long positions and a sliding window.
    Phi3,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Llama,
        Self::Gpt2,
        Self::Mistral,
        Self::Qwen2,
        Self::Qwen3,
        Self::Phi3,
    ];

    /// The `model_type` of its `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Gpt2 => "gpt2",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Phi3 => "phi3",
        }
    }

    /// The class that transformers loads it with.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Gpt2 => "GPT2LMHeadModel",
            Self::Mistral => "MistralForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::Phi3 => "Phi3ForCausalLM",
        }
    }

    /// Whether it has an embedding of positions; otherwise queries and keys turn with them.
    pub(crate) fn learns_positions(self) -> bool {
        self == Self::Gpt2
    }

    /// Whether its norms subtract the mean and have a bias.
    pub(crate) fn has_layer_norms(self) -> bool {
        self == Self::Gpt2
    }

    /// Whether the feed-forward block multiplies its activation by a second projection.
    pub(crate) fn is_gated(self) -> bool {
        self != Self::Gpt2
    }

    /// Whether queries and keys are normed head by head.
    pub(crate) fn norms_heads(self) -> bool {
        self == Self::Qwen3
    }

    /// Whether some layers may see a window of the past only.
    pub(crate) fn may_slide(self) -> bool {
        matches!(self, Self::Mistral | Self::Qwen2 | Self::Qwen3 | Self::Phi3)
    }

    /// Whether only layers above a first one may slide; otherwise all do or none.
    pub(crate) fn may_slide_partly(self) -> bool {
        matches!(self, Self::Qwen2 | Self::Qwen3)
    }

    /// Whether [`attention_bias`](crate::DecoderConfig::attention_bias) is for the configuration to
    /// say.
    pub(crate) fn may_have_attention_bias(self) -> bool {
        matches!(self, Self::Llama | Self::Qwen3)
    }

    /// Whether [`feed_forward_bias`](crate::DecoderConfig::feed_forward_bias) is for the
    /// configuration to say.
    pub(crate) fn may_have_feed_forward_bias(self) -> bool {
        self == Self::Llama
    }

    /// How its `config.json` calls what most of them call `field`.
    pub(crate) fn field(self, field: &'static str) -> &'static str {
        if self != Self::Gpt2 {
            return field;
        }
        match field {
            "hidden_size" => "n_embd",
            "num_hidden_layers" => "n_layer",
            "num_attention_heads" | "num_key_value_heads" => "n_head",
            "intermediate_size" => "n_inner",
            "max_position_embeddings" => "n_positions",
            "hidden_act" => "activation_function",
            "rms_norm_eps" => "layer_norm_epsilon",
            other => other,
        }
    }
}
