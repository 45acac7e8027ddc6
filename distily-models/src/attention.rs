use crate::DecoderConfig;
use crate::fill::linear;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use distily_core::{CachedLayer, LayerFeatures};
use distily_kernels::{Segments, attention_weights, causal_attention, rotary, weighted_values};

/// Causal self-attention with grouped-query heads and rotary positions.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// `[width, heads * head_width]`.
    pub q_proj: Linear,
    /// `[width, kv_heads * head_width]`.
    pub k_proj: Linear,
    /// `[width, kv_heads * head_width]`.
    pub v_proj: Linear,
    /// `[heads * head_width, width]`.
    pub o_proj: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    kv_heads: usize,
    #[module(skip)]
    head_width: usize,
}

/// What every layer of one forward pass shares.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    pub(crate) cos: Tensor<3>,
    pub(crate) sin: Tensor<3>,
    /// Of all tokens, those of the cache first.
    pub(crate) segments: Segments,
}

/// Which of the attention's results are kept.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kept {
    pub(crate) query: bool,
    pub(crate) key: bool,
    pub(crate) value: bool,
    pub(crate) weights: bool,
}

impl SelfAttention {
    pub(crate) fn new(config: &DecoderConfig, device: &Device) -> Self {
        let (queries, keys) = (
            config.heads * config.head_width,
            config.kv_heads * config.head_width,
        );
        let bias = config.attention_bias;
        Self {
            q_proj: linear(config.width, queries, bias, device),
            k_proj: linear(config.width, keys, bias, device),
            v_proj: linear(config.width, keys, bias, device),
            o_proj: linear(queries, config.width, bias, device),
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_width: config.head_width,
        }
    }

    /// `[batch, seq, width]` to the same. A cached layer is continued and updated.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        pass: &Pass,
        cached: Option<&mut Option<CachedLayer>>,
        kept: Kept,
        features: &mut LayerFeatures,
    ) -> Tensor<3> {
        let [batch, seq, _] = x.dims();
        let split =
            |projected: Tensor<3>, heads| projected.reshape([batch, seq, heads, self.head_width]);
        let query = split(self.q_proj.forward(x.clone()), self.heads);
        let key = split(self.k_proj.forward(x.clone()), self.kv_heads);
        let value = split(self.v_proj.forward(x), self.kv_heads);
        let by_head = |tensor: &Tensor<4>| tensor.clone().swap_dims(1, 2);
        features.query = kept.query.then(|| by_head(&query));
        features.key = kept.key.then(|| by_head(&key));
        features.value = kept.value.then(|| by_head(&value));

        let query = rotary(query, pass.cos.clone(), pass.sin.clone());
        let mut key = rotary(key, pass.cos.clone(), pass.sin.clone());
        let mut value = value;
        if let Some(cached) = cached {
            if let Some(past) = cached.take() {
                key = Tensor::cat(vec![past.keys, key], 1);
                value = Tensor::cat(vec![past.values, value], 1);
            }
            *cached = Some(CachedLayer {
                keys: key.clone(),
                values: value.clone(),
            });
        }
        let scale = (self.head_width as f64).powf(-0.5);
        let attended = if kept.weights {
            let weights = attention_weights(query, key, &pass.segments, scale);
            features.attention = Some(weights.clone());
            weighted_values(weights, value)
        } else {
            causal_attention(query, key, value, &pass.segments, scale)
        };
        self.o_proj
            .forward(attended.reshape([batch, seq, self.heads * self.head_width]))
    }
}
