use crate::attention::{Kept, Pass};
use crate::fill::{Parameter, fill, linear, unfilled};
use crate::{DecoderConfig, FeedForward, ModelError, RmsNorm, SelfAttention};
use burn::module::Module;
use burn::nn::{Embedding, Linear};
use burn::tensor::module::embedding;
use burn::tensor::{Device, TensorData};
use distily_core::{
    Cache, CachedLayer, Feature, Features, ForwardError, Head, LanguageModel, LayerFeatures,
    ModelShape, Outputs, Seed, Segments, Taps, TokenBatch,
};
use rand_distr::{Distribution, Normal};

/// One block: attention and feed-forward, each behind a norm and around a residual connection.
#[derive(Module, Debug)]
pub struct Block {
    /// Before the attention.
    pub input_layernorm: RmsNorm,
    /// The attention.
    pub self_attn: SelfAttention,
    /// Before the feed-forward block.
    pub post_attention_layernorm: RmsNorm,
    /// The feed-forward block.
    pub mlp: FeedForward,
}

/// A decoder language model of the Llama family.
///
/// Its parameters are named as in Hugging Face's files, without their prefix `model.`: patterns
/// that freeze a part match `layers.3.self_attn.q_proj.weight`.
#[derive(Module, Debug)]
pub struct Decoder {
    /// `[vocabulary, width]`.
    pub embed_tokens: Embedding,
    /// The blocks.
    pub layers: Vec<Block>,
    /// Before the head.
    pub norm: RmsNorm,
    /// `[width, vocabulary]`; without one, the head is the embedding.
    pub lm_head: Option<Linear>,
    #[module(skip)]
    config: DecoderConfig,
}

impl Decoder {
    /// The model of a configuration without weights yet.
    pub(crate) fn unfilled(
        config: &DecoderConfig,
        origin: &str,
        device: &Device,
    ) -> Result<Self, ModelError> {
        config.check(origin)?;
        let norm = || RmsNorm::new(config.width, config.norm_epsilon, device);
        let block = |_| Block {
            input_layernorm: norm(),
            self_attn: SelfAttention::new(config, device),
            post_attention_layernorm: norm(),
            mlp: FeedForward::new(config, device),
        };
        Ok(Self {
            embed_tokens: Embedding {
                weight: unfilled([config.vocabulary, config.width], device),
            },
            layers: (0..config.layers).map(block).collect(),
            norm: norm(),
            lm_head: (!config.tied_head)
                .then(|| linear(config.width, config.vocabulary, false, device)),
            config: config.clone(),
        })
    }

    /// A model with random weights: normal with the configuration's `initializer_range`, norms 1
    /// and biases 0. Each weight has a generator of its own, so that it depends on the seed and its
    /// name alone.
    ///
    /// # Errors
    ///
    /// [`ModelError::Config`].
    pub fn random(config: &DecoderConfig, seed: Seed, device: &Device) -> Result<Self, ModelError> {
        let model = Self::unfilled(config, "the configuration", device)?;
        let normal = Normal::new(0.0, config.initializer_range as f32)
            .map_err(|error| ModelError::config("the configuration", "initializer_range", error))?;
        fill(model, device, |parameter: &Parameter<'_>| {
            let count = parameter.shape.iter().product();
            let values: Vec<f32> = if parameter.path.ends_with("norm.weight") {
                vec![1.0; count]
            } else if parameter.path.ends_with("bias") {
                vec![0.0; count]
            } else {
                let mut generator = seed.generator(parameter.path, 0);
                (0..count).map(|_| normal.sample(&mut generator)).collect()
            };
            Ok(TensorData::new(values, parameter.shape.to_vec()))
        })
    }

    /// What the model was made from.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    fn run(
        &self,
        batch: &TokenBatch,
        taps: &Taps,
        segments: Segments,
        mut cache: Option<&mut Vec<Option<CachedLayer>>>,
    ) -> Outputs {
        let device = self.device();
        let (cos, sin) = self
            .config
            .rope
            .angles(batch, self.config.head_width, &device);
        let pass = Pass { cos, sin, segments };
        let mut features = Features::default();
        let mut x = embedding(self.embed_tokens.weight.val(), batch.ids(&device));
        features.embedding = taps.wants_embedding().then(|| x.clone());
        for (index, layer) in self.layers.iter().enumerate() {
            let mut revealed = LayerFeatures::default();
            let kept = Kept {
                query: taps.wants(index, Feature::Query),
                key: taps.wants(index, Feature::Key),
                value: taps.wants(index, Feature::Value),
                weights: taps.wants(index, Feature::Attention),
            };
            let cached = cache.as_mut().map(|layers| &mut layers[index]);
            let normal = layer.input_layernorm.forward(x.clone());
            x = x + layer
                .self_attn
                .forward(normal, &pass, cached, kept, &mut revealed);
            let normal = layer.post_attention_layernorm.forward(x.clone());
            x = x + layer.mlp.forward(normal);
            revealed.hidden = taps.wants(index, Feature::Hidden).then(|| x.clone());
            if taps.wants_any(index) {
                features.layers.insert(index, revealed);
            }
        }
        let hidden = self.norm.forward(x);
        Outputs::new(hidden, &self.head(), taps).with_features(features)
    }
}

impl LanguageModel for Decoder {
    fn shape(&self) -> ModelShape {
        self.config.shape()
    }

    fn device(&self) -> Device {
        self.embed_tokens.weight.val().device()
    }

    fn head(&self) -> Head {
        match &self.lm_head {
            Some(head) => Head {
                bias: head.bias.as_ref().map(|bias| bias.val()),
                ..Head::by_width(head.weight.val())
            },
            None => Head::by_vocabulary(self.embed_tokens.weight.val()),
        }
    }

    fn forward(&self, batch: &TokenBatch, taps: &Taps) -> Result<Outputs, ForwardError> {
        self.shape().check(batch, taps)?;
        Ok(self.run(batch, taps, batch.segments().clone(), None))
    }

    fn forward_cached(
        &self,
        batch: &TokenBatch,
        cache: &mut Cache,
    ) -> Result<Outputs, ForwardError> {
        let taps = Taps::logits();
        self.shape().check(batch, &taps)?;
        let segments = cache.extend_segments(batch)?;
        let mut layers: Vec<Option<CachedLayer>> = std::mem::take(&mut cache.layers)
            .into_iter()
            .map(Some)
            .collect();
        layers.resize_with(self.layers.len(), || None);
        let outputs = self.run(batch, &taps, segments, Some(&mut layers));
        cache.layers = layers.into_iter().flatten().collect();
        Ok(outputs)
    }
}
