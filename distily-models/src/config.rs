use crate::{Architecture, ModelError, Rope};
use distily_core::ModelShape;
use serde::{Deserialize, Serialize};

/// The nonlinearity of the feed-forward block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// x · sigmoid(x).
    #[default]
    #[serde(rename = "silu", alias = "swish")]
    Silu,
    /// x · Φ(x), by the error function.
    #[serde(rename = "gelu")]
    Gelu,
    /// GELU by its tanh approximation.
    #[serde(rename = "gelu_pytorch_tanh", alias = "gelu_new")]
    GeluTanh,
    /// max(x, 0).
    #[serde(rename = "relu")]
    Relu,
}

/// Layers that see the last tokens only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingWindow {
    /// The most tokens that a token sees, itself among them.
    pub tokens: usize,
    /// The layers from this one on slide; the others see everything.
    pub first_layer: usize,
}

/// What a [`Decoder`](crate::Decoder) is made from.
///
/// [`Default`] is a small Llama, and [`DecoderConfig::of`] a small model of any architecture; every
/// field can be set.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// Which parts the model is built from, and how its files are written.
    pub architecture: Architecture,
    /// Columns of the logits.
    pub vocabulary: usize,
    /// Width of the hidden state.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; a divisor of `heads`, and for GPT-2 as many.
    pub kv_heads: usize,
    /// Width of one head; even.
    pub head_width: usize,
    /// Width inside the feed-forward block.
    pub feed_forward_width: usize,
    /// Longest sequence.
    pub positions: usize,
    /// Nonlinearity of the feed-forward block.
    pub activation: Activation,
    /// Added to the mean square, or to the variance, in the norms.
    pub norm_epsilon: f64,
    /// Rotary positions; GPT-2 has none.
    pub rope: Rope,
    /// The layers that see the last tokens only; not for Llama and GPT-2.
    pub sliding_window: Option<SlidingWindow>,
    /// Whether the head is the embedding.
    pub tied_head: bool,
    /// Whether the attention's projections have a bias; Llama and Qwen3 alone have the choice.
    pub attention_bias: bool,
    /// Whether the feed-forward block's projections have a bias; Llama alone has the choice.
    pub feed_forward_bias: bool,
    /// Standard deviation of random weights.
    pub initializer_range: f64,
    /// The id that begins a text.
    pub begin_of_text: Option<u32>,
    /// The ids that end a text.
    pub end_of_text: Vec<u32>,
    /// The id that fills rows up.
    pub padding: Option<u32>,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self {
            architecture: Architecture::Llama,
            vocabulary: 32_000,
            width: 256,
            layers: 4,
            heads: 4,
            kv_heads: 4,
            head_width: 64,
            feed_forward_width: 768,
            positions: 2048,
            activation: Activation::Silu,
            norm_epsilon: 1e-5,
            rope: Rope::default(),
            sliding_window: None,
            tied_head: true,
            attention_bias: false,
            feed_forward_bias: false,
            initializer_range: 0.02,
            begin_of_text: None,
            end_of_text: Vec::new(),
            padding: None,
        }
    }
}

impl DecoderConfig {
    /// A small model of an architecture.
    pub fn of(architecture: Architecture) -> Self {
        Self {
            architecture,
            activation: match architecture {
                Architecture::Gpt2 => Activation::GeluTanh,
                _ => Activation::Silu,
            },
            ..Self::default()
        }
    }

    /// The model's sizes.
    pub fn shape(&self) -> ModelShape {
        ModelShape {
            vocabulary: self.vocabulary,
            width: self.width,
            layers: self.layers,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_width: self.head_width,
            feed_forward_width: self.feed_forward_width,
            positions: self.positions,
        }
    }

    /// Whether queries, keys and values have a bias.
    pub(crate) fn has_qkv_bias(&self) -> bool {
        match self.architecture {
            Architecture::Gpt2 | Architecture::Qwen2 => true,
            _ => self.attention_bias,
        }
    }

    /// Whether the attention's output projection has a bias.
    pub(crate) fn has_output_bias(&self) -> bool {
        self.architecture == Architecture::Gpt2 || self.attention_bias
    }

    /// Whether the feed-forward block's projections have a bias.
    pub(crate) fn has_feed_forward_bias(&self) -> bool {
        self.architecture == Architecture::Gpt2 || self.feed_forward_bias
    }

    /// Whether a model can be made from this; fields are named as in a `config.json` of `origin`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Config`] for the first field that is out of range.
    pub fn check(&self, origin: &str) -> Result<(), ModelError> {
        let architecture = self.architecture;
        let error = |field, problem: String| {
            let field = architecture.field(field);
            Err(ModelError::config(origin, field, problem))
        };
        for (field, value) in [
            ("vocab_size", self.vocabulary),
            ("hidden_size", self.width),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_width),
            ("intermediate_size", self.feed_forward_width),
            ("max_position_embeddings", self.positions),
        ] {
            // The bounds keep products of sizes from overflowing, and a file from making us build
            // millions of layers before its weights are looked at.
            let largest = if field == "num_hidden_layers" {
                1 << 12
            } else {
                1 << 24
            };
            if value == 0 || value > largest {
                return error(field, format!("got {value}, expected 1 to {largest}"));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return error(
                "num_key_value_heads",
                format!(
                    "got {}, expected a divisor of the {} attention heads",
                    self.kv_heads, self.heads
                ),
            );
        }
        // transformers refuses such a Llama, and a GPT-2 can't say how wide its heads are.
        let divides = self.width.is_multiple_of(self.heads);
        if architecture == Architecture::Llama && !divides {
            return error("num_attention_heads", not_a_divisor(self.heads, self.width));
        }
        if architecture == Architecture::Gpt2
            && (self.kv_heads != self.heads || self.heads * self.head_width != self.width)
        {
            let problem = format!(
                "got {} query and {} key heads of {}, expected as many of either, together as wide as the hidden state, {}",
                self.heads, self.kv_heads, self.head_width, self.width
            );
            return error("num_attention_heads", problem);
        }
        if !self.head_width.is_multiple_of(2) && !architecture.learns_positions() {
            let problem = format!("got {}, expected an even number", self.head_width);
            return error("head_dim", problem);
        }
        if let Some(window) = self.sliding_window {
            if !architecture.may_slide() {
                let problem = format!("a {} has none", architecture.model_type());
                return error("sliding_window", problem);
            }
            if window.tokens == 0 {
                return error(
                    "sliding_window",
                    "got 0, expected a positive number".to_owned(),
                );
            }
            if window.first_layer > 0 && !architecture.may_slide_partly() {
                let problem = format!("all layers of a {} slide", architecture.model_type());
                return error("max_window_layers", problem);
            }
        }
        if self.attention_bias && !architecture.may_have_attention_bias() {
            let problem = format!("a {} has no choice", architecture.model_type());
            return error("attention_bias", problem);
        }
        if self.feed_forward_bias && !architecture.may_have_feed_forward_bias() {
            let problem = format!("a {} has no choice", architecture.model_type());
            return error("mlp_bias", problem);
        }
        if !(self.norm_epsilon > 0.0 && self.norm_epsilon.is_finite()) {
            let problem = format!("got {}, expected a positive number", self.norm_epsilon);
            return error("rms_norm_eps", problem);
        }
        if !(0.0..=1.0).contains(&self.initializer_range) {
            let problem = format!("got {}, expected 0 to 1", self.initializer_range);
            return error("initializer_range", problem);
        }
        self.rope.check(origin, self.head_width)
    }
}

/// What is wrong with a number of heads.
pub(crate) fn not_a_divisor(heads: usize, width: usize) -> String {
    format!("got {heads}, expected a divisor of the width, {width}")
}
