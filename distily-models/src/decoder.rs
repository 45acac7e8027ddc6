use crate::attention::{Kept, Places};
use crate::fill::{Parameter, fill, unfilled};
use crate::linear::unfilled_linear;
use crate::{DecoderConfig, FeedForward, ModelError, Norm, Precision, SelfAttention};
use burn::module::Module;
use burn::nn::{Embedding, Linear};
use burn::tensor::{Device, Int, Tensor, TensorData};
use distily_core::{
    Cache, CachedLayer, Feature, Features, ForwardError, Head, LanguageModel, LayerFeatures,
    ModelShape, Outputs, Seed, Segments, Taps, TokenBatch, in_format_of,
};
use distily_kernels::{embedding, on_pool, recomputed};
use rand_distr::{Distribution, Normal};
use std::collections::BTreeSet;

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

impl Block {
    fn forward(
        &self,
        x: Tensor<3>,
        places: &Places,
        cached: Option<&mut Option<CachedLayer>>,
        kept: Kept,
        revealed: &mut LayerFeatures,
    ) -> Tensor<3> {
        let normal = self.input_layernorm.forward(x.clone());
        let x = x + self
            .self_attn
            .forward(normal, places, cached, kept, revealed);
        let normal = self.post_attention_layernorm.forward(x.clone());
        x + self.mlp.forward(normal)
    }
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
    /// The blocks that run again going backward.
    #[module(skip)]
    checkpointed: BTreeSet<usize>,
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
            checkpointed: BTreeSet::new(),
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

    /// The same model, whose blocks of these indices (from 0) keep their input alone for the backward
    /// pass, and run again there: less memory for one more forward pass of each. Gradients are the
    /// same bits. A block whose queries, keys, values or attention are tapped keeps all. See
    /// [`recomputed`] for where it has an effect.
    ///
    /// ```
    /// # use burn::tensor::Device;
    /// # use distily_core::Seed;
    /// # use distily_models::{Decoder, DecoderConfig, ModelError};
    /// # fn example(config: &DecoderConfig) -> Result<(), ModelError> {
    /// let student = Decoder::random(config, Seed(1), &Device::flex().autodiff())?;
    /// let every_second = (0..config.layers).step_by(2);
    /// let student = student.with_gradient_checkpointing(every_second)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ModelError::Config`] if there is no such block.
    pub fn with_gradient_checkpointing(
        mut self,
        layers: impl IntoIterator<Item = usize>,
    ) -> Result<Self, ModelError> {
        self.checkpointed = layers.into_iter().collect();
        match self.checkpointed.last() {
            Some(last) if *last >= self.layers.len() => {
                let problem = format!(
                    "there is no layer {last}: the model has {}, from 0",
                    self.layers.len()
                );
                let origin = "gradient checkpointing";
                Err(ModelError::config(origin, "layers", problem))
            }
            _ => Ok(self),
        }
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
        let needed = match taps.last_layer() {
            // A cache holds all layers.
            _ if taps.wants_output() || cached.is_some() => self.layers.len(),
            last => last.map_or(0, |last| last + 1),
        };
        for (index, layer) in self.layers.iter().enumerate().take(needed) {
            let places = Places {
                angles: angles.clone(),
                segments: match &sliding {
                    Some((first, sliding)) if index >= *first => sliding.clone(),
                    _ => segments.clone(),
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
            let keeps_all = cached.is_some() || kept != Kept::default();
            x = if self.checkpointed.contains(&index) && !keeps_all {
                recomputed(layer, x, move |layer: &Block, x| {
                    layer.forward(x, &places, None, kept, &mut LayerFeatures::default())
                })
            } else {
                layer.forward(x, &places, cached, kept, &mut revealed)
            };
            revealed.hidden = taps.wants(index, Feature::Hidden).then(|| x.clone());
            if taps.wants_any(index) {
                features.layers.insert(index, revealed);
            }
        }
        let hidden = if taps.wants_output() {
            self.norm.forward(x)
        } else {
            x
        };
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
        let run = || self.run(batch, taps, batch.segments(), batch.longest(), None);
        Ok(on_pool(&self.device(), run))
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
        let outputs = on_pool(&self.device(), || {
            self.run(batch, taps, tokens.segments(), length, Some(&mut layers))
        });
        cache.layers = layers.into_iter().flatten().collect();
        Ok(outputs.of_last(new))
    }
}
