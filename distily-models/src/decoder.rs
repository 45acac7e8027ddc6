use crate::attention::{Kept, Places};
use crate::fill::{Parameter, fill, unfilled};
use crate::linear::unfilled_linear;
use crate::{DecoderConfig, FeedForward, ModelError, Norm, Precision, SelfAttention};
use burn::module::Module;
use burn::nn::{Embedding, Linear};
use burn::tensor::module::embedding;
use burn::tensor::{Device, Int, Tensor, TensorData};
use distily_core::{
    Cache, CachedLayer, Feature, Features, ForwardError, Head, LanguageModel, LayerFeatures,
    ModelShape, Outputs, Seed, Segments, Taps, TokenBatch, in_format_of,
};
use rand_distr::{Distribution, Normal};

/// One block: attention and feed-forward, each behind a norm and around a residual connection.
#[derive(Module, Debug)]
pub struct Block {
    /// Before the attention.
    pub input_layernorm: Norm,
    /// The attention.
    pub self_attn: SelfAttention,
    /// Before the feed-forward block.
    pub post_attention_layernorm: Norm,
    /// The feed-forward block.
    pub mlp: FeedForward,
}

/// A decoder language model, of any [`Architecture`](crate::Architecture).
///
/// Its parameters are named as in the files of a Hugging Face Llama, without their prefix `model.`,
/// whatever the architecture's own files call them: patterns that freeze a part match
/// `layers.3.self_attn.q_proj.weight` in a GPT-2, too.
#[derive(Module, Debug)]
pub struct Decoder {
    /// `[vocabulary, width]`.
    pub embed_tokens: Embedding,
    /// `[positions, width]`, where positions are learned.
    pub embed_positions: Option<Embedding>,
    /// The blocks.
    pub layers: Vec<Block>,
    /// Before the head.
    pub norm: Norm,
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
        let norm = || Norm::new(config, config.width, device);
        let block = |_| Block {
            input_layernorm: norm(),
            self_attn: SelfAttention::new(config, device),
            post_attention_layernorm: norm(),
            mlp: FeedForward::new(config, device),
        };
        let embedding = |rows| Embedding {
            weight: unfilled([rows, config.width], device),
        };
        let learns_positions = config.architecture.learns_positions();
        Ok(Self {
            embed_tokens: embedding(config.vocabulary),
            embed_positions: learns_positions.then(|| embedding(config.positions)),
            layers: (0..config.layers).map(block).collect(),
            norm: norm(),
            lm_head: (!config.tied_head)
                .then(|| unfilled_linear(config.width, config.vocabulary, false, device)),
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
        fill(
            model,
            device,
            Precision::F32,
            |parameter: &Parameter<'_>| {
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
            },
        )
    }

    /// What the model was made from.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Rows of an embedding in the format that the model computes in: that of its norms.
    fn rows(&self, table: &Embedding, ids: Tensor<2, Int>) -> Tensor<3> {
        in_format_of(embedding(table.weight.val(), ids), &self.norm.weight.val())
    }

    /// Runs a batch whose tokens, what is cached included, have these segments, and the longest of
    /// whose sequences has `length` tokens.
    fn run(
        &self,
        batch: &TokenBatch,
        taps: &Taps,
        segments: &Segments,
        length: usize,
        mut cached: Option<&mut Vec<Option<CachedLayer>>>,
    ) -> Outputs {
        let (config, device) = (&self.config, self.device());
        let mut features = Features::default();
        let mut x = self.rows(&self.embed_tokens, batch.ids(&device));
        let angles = match &self.embed_positions {
            Some(table) => {
                x = x + self.rows(table, batch.position_ids(&device));
                None
            }
            None => Some(
                config
                    .rope
                    .angles(batch, length, config.head_width, &device),
            ),
        };
        features.embedding = taps.wants_embedding().then(|| x.clone());
        let sliding = config
            .sliding_window
            .map(|window| (window.first_layer, segments.within(window.tokens)));
        for (index, layer) in self.layers.iter().enumerate() {
            let places = Places {
                angles: angles.as_ref(),
                segments: match &sliding {
                    Some((first, sliding)) if index >= *first => sliding,
                    _ => segments,
                },
            };
            let kept = Kept {
                query: taps.wants(index, Feature::Query),
                key: taps.wants(index, Feature::Key),
                value: taps.wants(index, Feature::Value),
                weights: taps.wants(index, Feature::Attention),
            };
            let mut revealed = LayerFeatures::default();
            let cached = cached.as_mut().map(|layers| &mut layers[index]);
            let normal = layer.input_layernorm.forward(x.clone());
            x = x + layer
                .self_attn
                .forward(normal, &places, cached, kept, &mut revealed);
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
        Ok(self.run(batch, taps, batch.segments(), batch.longest(), None))
    }

    fn forward_cached(
        &self,
        batch: &TokenBatch,
        taps: &Taps,
        cache: &mut Cache,
    ) -> Result<Outputs, ForwardError> {
        self.shape().check(batch, taps)?;
        let [_, new] = batch.shape();
        let before = cache.tokens().map_or(0, TokenBatch::longest);
        let tokens = cache.extend(batch)?.clone();
        let length = tokens.longest();
        let mut past = std::mem::take(&mut cache.layers);
        // Where the past would turn otherwise now, its keys and values are others, too.
        let anew = before > 0 && self.config.rope.changes(before, length);
        if anew {
            past.clear();
        }
        let batch = if anew { &tokens } else { batch };
        let mut layers: Vec<Option<CachedLayer>> = past.into_iter().map(Some).collect();
        layers.resize_with(self.layers.len(), || None);
        let outputs = self.run(batch, taps, tokens.segments(), length, Some(&mut layers));
        cache.layers = layers.into_iter().flatten().collect();
        Ok(outputs.of_last(new))
    }
}
