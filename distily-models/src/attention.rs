use crate::linear::{project, unfilled_linear};
use crate::{DecoderConfig, Norm};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use distily_core::{CachedLayer, LayerFeatures, Segments};
use distily_kernels::{attention_weights, causal_attention, rotary, weighted_values};

/// Causal self-attention with grouped-query heads.
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
    /// Over each query head.
    pub q_norm: Option<Norm>,
    /// Over each key head.
    pub k_norm: Option<Norm>,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    kv_heads: usize,
    #[module(skip)]
    head_width: usize,
}

/// cos and sin of each token's angles, `[batch, seq, pairs]`; the batch axis is 1 where the rows
/// share them.
#[derive(Debug, Clone)]
pub(crate) struct Angles {
    pub(crate) cos: Tensor<3>,
    pub(crate) sin: Tensor<3>,
}

impl Angles {
    pub(crate) fn turn(&self, x: Tensor<4>) -> Tensor<4> {
        rotary(x, self.cos.clone(), self.sin.clone())
    }
}

/// Where the tokens of one forward pass stand.
#[derive(Debug)]
pub(crate) struct Places {
    /// `None` where positions are learned.
    pub(crate) angles: Option<Angles>,
    /// Of all tokens, those of the cache first.
    pub(crate) segments: Segments,
}

/// Which of the attention's results are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
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
        let bias = config.has_qkv_bias();
        let head_norm = || {
            let norms = config.architecture.norms_heads();
            norms.then(|| Norm::new(config, config.head_width, device))
        };
        Self {
            q_proj: unfilled_linear(config.width, queries, bias, device),
            k_proj: unfilled_linear(config.width, keys, bias, device),
            v_proj: unfilled_linear(config.width, keys, bias, device),
            o_proj: unfilled_linear(queries, config.width, config.has_output_bias(), device),
            q_norm: head_norm(),
            k_norm: head_norm(),
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_width: config.head_width,
        }
    }

    /// `[batch, seq, width]` to the same. A cached layer is continued and updated.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        places: &Places,
        cached: Option<&mut Option<CachedLayer>>,
        kept: Kept,
        features: &mut LayerFeatures,
    ) -> Tensor<3> {
        let [batch, seq, _] = x.dims();
        let heads_of = |layer: &Linear, norm: &Option<Norm>, heads: usize| {
            let heads = project(layer, x.clone()).reshape([batch, seq, heads, self.head_width]);
            match norm {
                Some(norm) => norm.forward(heads),
                None => heads,
            }
        };
        let mut query = heads_of(&self.q_proj, &self.q_norm, self.heads);
        let mut key = heads_of(&self.k_proj, &self.k_norm, self.kv_heads);
        let mut value = heads_of(&self.v_proj, &None, self.kv_heads);
        let by_head = |tensor: &Tensor<4>| tensor.clone().swap_dims(1, 2);
        features.query = kept.query.then(|| by_head(&query));
        features.key = kept.key.then(|| by_head(&key));
        features.value = kept.value.then(|| by_head(&value));

        if let Some(angles) = &places.angles {
            query = angles.turn(query);
            key = angles.turn(key);
        }
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
            let weights = attention_weights(query, key, &places.segments, scale);
            features.attention = Some(weights.clone());
            weighted_values(weights, value)
        } else {
            causal_attention(query, key, value, &places.segments, scale)
        };
        project(
            &self.o_proj,
            attended.reshape([batch, seq, self.heads * self.head_width]),
        )
    }
}
