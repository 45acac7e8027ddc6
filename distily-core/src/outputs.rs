use crate::{Feature, Head, Taps};
use burn::tensor::Tensor;
use std::collections::BTreeMap;

/// What one layer revealed; only what was tapped is there.
#[derive(Debug, Clone, Default)]
pub struct LayerFeatures {
    /// See [`Feature::Hidden`].
    pub hidden: Option<Tensor<3>>,
    /// See [`Feature::Query`].
    pub query: Option<Tensor<4>>,
    /// See [`Feature::Key`].
    pub key: Option<Tensor<4>>,
    /// See [`Feature::Value`].
    pub value: Option<Tensor<4>>,
    /// See [`Feature::Attention`].
    pub attention: Option<Tensor<4>>,
}

/// The tapped features by layer (from 0).
#[derive(Debug, Clone, Default)]
pub struct Features {
    /// The embedding output, `[batch, seq, width]`.
    pub embedding: Option<Tensor<3>>,
    /// The tapped layers.
    pub layers: BTreeMap<usize, LayerFeatures>,
}

impl Features {
    /// The hidden state of `layer`, `[batch, seq, width]`, if it was tapped.
    pub fn hidden(&self, layer: usize) -> Option<&Tensor<3>> {
        self.layers.get(&layer)?.hidden.as_ref()
    }

    /// The per-head feature of `layer`, `[batch, heads, seq, _]`, if it was tapped;
    /// [`Feature::Hidden`] has no heads and is never found here.
    pub fn heads(&self, layer: usize, feature: Feature) -> Option<&Tensor<4>> {
        let layer = self.layers.get(&layer)?;
        match feature {
            Feature::Hidden => None,
            Feature::Query => layer.query.as_ref(),
            Feature::Key => layer.key.as_ref(),
            Feature::Value => layer.value.as_ref(),
            Feature::Attention => layer.attention.as_ref(),
        }
    }
}

/// What a forward pass returns.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// The final hidden state, `[batch, seq, width]`: what the head reads. Where the taps do not want
    /// it (see [`Taps::wants_output`]), a model may leave a hidden state of any layer here.
    pub hidden: Tensor<3>,
    /// The logits, `[batch, seq, vocabulary]`, if tapped.
    pub logits: Option<Tensor<3>>,
    /// The tapped features.
    pub features: Features,
}

impl Outputs {
    /// The outputs of a model without features: the logits are computed by `head` if `taps` wants
    /// them.
    pub fn new(hidden: Tensor<3>, head: &Head, taps: &Taps) -> Self {
        Self {
            logits: taps.wants_logits().then(|| head.logits(hidden.clone())),
            hidden,
            features: Features::default(),
        }
    }

    /// These outputs for the last `tokens` of each row alone.
    pub fn of_last(self, tokens: usize) -> Self {
        fn last<const D: usize>(x: Tensor<D>, axis: usize, tokens: usize) -> Tensor<D> {
            let all = x.dims()[axis];
            if all <= tokens {
                x
            } else {
                x.narrow(axis, all - tokens, tokens)
            }
        }
        let layer = |(layer, features): (usize, LayerFeatures)| {
            let by_head = |x: Option<Tensor<4>>| x.map(|x| last(x, 2, tokens));
            let features = LayerFeatures {
                hidden: features.hidden.map(|x| last(x, 1, tokens)),
                query: by_head(features.query),
                key: by_head(features.key),
                value: by_head(features.value),
                attention: by_head(features.attention),
            };
            (layer, features)
        };
        Self {
            hidden: last(self.hidden, 1, tokens),
            logits: self.logits.map(|x| last(x, 1, tokens)),
            features: Features {
                embedding: self.features.embedding.map(|x| last(x, 1, tokens)),
                layers: self.features.layers.into_iter().map(layer).collect(),
            },
        }
    }

    /// These outputs with features.
    pub fn with_features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }
}
