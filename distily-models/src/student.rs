use crate::fill::{Parameter, collect, fill};
use crate::{Activation, Architecture, Decoder, DecoderConfig, ModelError, Precision};
use burn::tensor::{Device, TensorData};
use distily_core::{LanguageModel, Seed};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// A student's shape, as changes to its teacher's; what is not said stays as it is there.
///
/// ```
/// use distily_models::{DecoderConfig, StudentConfig};
///
/// let teacher = DecoderConfig { layers: 30, vocabulary: 49_152, ..DecoderConfig::default() };
/// let half = StudentConfig { layers: Some(15), ..StudentConfig::default() };
/// assert_eq!(half.of(&teacher)?.layers, 15);
/// # Ok::<(), distily_models::ModelError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudentConfig {
    /// Another architecture than the teacher's: the sizes are kept where it can have them.
    pub architecture: Option<Architecture>,
    /// Blocks.
    pub layers: Option<usize>,
    /// Width of the hidden state; without `heads`, heads keep their width if that divides it.
    pub width: Option<usize>,
    /// Width inside the feed-forward block.
    pub feed_forward_width: Option<usize>,
    /// Query heads.
    pub heads: Option<usize>,
    /// Key and value heads.
    pub kv_heads: Option<usize>,
    /// Nonlinearity of the feed-forward block.
    pub activation: Option<Activation>,
    /// The vocabulary is padded to a multiple of this.
    pub vocabulary_multiple_of: Option<usize>,
}

impl StudentConfig {
    /// The configuration of this teacher's student.
    ///
    /// # Errors
    ///
    /// [`ModelError::Config`] for a field that is out of range.
    pub fn of(&self, teacher: &DecoderConfig) -> Result<DecoderConfig, ModelError> {
        const ORIGIN: &str = "the student";
        teacher.check("the teacher")?;
        let mut config = match self.architecture {
            Some(other) if other != teacher.architecture => translated(teacher, other),
            _ => teacher.clone(),
        };
        config.layers = self.layers.unwrap_or(teacher.layers);
        if let Some(window) = &mut config.sliding_window {
            // The same share of the layers slides.
            let first = window.first_layer * config.layers;
            window.first_layer = first.div_ceil(teacher.layers);
        }
        config.width = self.width.unwrap_or(teacher.width);
        config.feed_forward_width = self
            .feed_forward_width
            .unwrap_or(teacher.feed_forward_width);
        config.activation = self.activation.unwrap_or(config.activation);
        if self.heads.is_some() || self.width.is_some() {
            let heads = self.heads.unwrap_or(config.width / teacher.head_width);
            if heads == 0 || !config.width.is_multiple_of(heads) {
                let problem = format!(
                    "{heads} heads do not divide the width {}: set both so that they do",
                    config.width
                );
                return Err(ModelError::config(ORIGIN, "heads", problem));
            }
            config.heads = heads;
            config.head_width = config.width / heads;
            // As many query heads for each key head as the teacher has, where that works out.
            let group = teacher.heads / teacher.kv_heads;
            let grouped = config.architecture != Architecture::Gpt2;
            config.kv_heads = if grouped && heads.is_multiple_of(group) {
                heads / group
            } else {
                heads
            };
        }
        config.kv_heads = self.kv_heads.unwrap_or(config.kv_heads);
        if let Some(multiple) = self.vocabulary_multiple_of {
            if multiple == 0 {
                let problem = "got 0, expected a positive number";
                return Err(ModelError::config(
                    ORIGIN,
                    "vocabulary_multiple_of",
                    problem,
                ));
            }
            config.vocabulary = teacher.vocabulary.next_multiple_of(multiple);
        }
        config.check(ORIGIN)?;
        Ok(config)
    }
}

/// A model of an architecture with the sizes of another, and those of its parts that it can have.
fn translated(config: &DecoderConfig, architecture: Architecture) -> DecoderConfig {
    let gpt2 = architecture == Architecture::Gpt2;
    let mut rope = config.rope.clone();
    if architecture != Architecture::Phi3 {
        rope.turning_share = 1.0;
    }
    let window = config.sliding_window.filter(|window| {
        architecture.may_slide() && (window.first_layer == 0 || architecture.may_slide_partly())
    });
    DecoderConfig {
        vocabulary: config.vocabulary,
        width: config.width,
        layers: config.layers,
        heads: config.heads,
        kv_heads: if gpt2 { config.heads } else { config.kv_heads },
        head_width: if gpt2 {
            config.width / config.heads
        } else {
            config.head_width
        },
        feed_forward_width: config.feed_forward_width,
        positions: config.positions,
        norm_epsilon: config.norm_epsilon,
        rope,
        sliding_window: window,
        tied_head: config.tied_head,
        attention_bias: config.has_qkv_bias() && architecture.may_have_attention_bias(),
        feed_forward_bias: config.has_feed_forward_bias()
            && architecture.may_have_feed_forward_bias(),
        initializer_range: config.initializer_range,
        begin_of_text: config.begin_of_text,
        end_of_text: config.end_of_text.clone(),
        padding: config.padding,
        ..DecoderConfig::of(architecture)
    }
}

/// What a student takes over from its teacher instead of starting at random.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inheritance {
    /// The embedding (and with it a tied head), and that of positions where both models have one.
    #[serde(default)]
    pub embedding: bool,
    /// The head, where it is not tied.
    #[serde(default)]
    pub head: bool,
    /// The norm before the head.
    #[serde(default)]
    pub final_norm: bool,
    /// The teacher's block (from 0) for each of the student's; empty for none.
    #[serde(default)]
    pub blocks: Vec<usize>,
}

impl Inheritance {
    /// Everything outside the blocks, and these blocks.
    pub fn with_blocks(blocks: impl Into<Vec<usize>>) -> Self {
        Self {
            embedding: true,
            head: true,
            final_norm: true,
            blocks: blocks.into(),
        }
    }

    /// The teacher's name for a parameter of the student, if it is taken over.
    fn source(&self, path: &str) -> Option<String> {
        if let Some(rest) = path.strip_prefix("layers.") {
            let (layer, name) = rest.split_once('.')?;
            let block = self.blocks.get(layer.parse::<usize>().ok()?)?;
            return Some(format!("layers.{block}.{name}"));
        }
        let taken = (self.embedding && path.starts_with("embed_"))
            || (self.head && path.starts_with("lm_head"))
            || (self.final_norm && path.starts_with("norm"));
        taken.then(|| path.to_owned())
    }
}

impl Decoder {
    /// A student: random but for what it inherits. Where its vocabulary is padded, the rows that
    /// the teacher does not have stay random.
    ///
    /// # Errors
    ///
    /// [`ModelError::Inherit`] where a part does not fit, [`ModelError::Config`].
    pub fn student(
        config: &DecoderConfig,
        teacher: &Decoder,
        inheritance: &Inheritance,
        seed: Seed,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let error = |part: &str, problem: String| ModelError::Inherit {
            part: part.to_owned(),
            problem,
        };
        let blocks = &inheritance.blocks;
        if !blocks.is_empty() && blocks.len() != config.layers {
            let problem = format!(
                "{} blocks are named, but the student has {} layers: name one for each",
                blocks.len(),
                config.layers
            );
            return Err(error("blocks", problem));
        }
        let layers = teacher.shape().layers;
        if let Some(block) = blocks.iter().find(|&&block| block >= layers) {
            let problem = format!("the teacher's blocks are 0 to {}", layers - 1);
            return Err(error(&format!("block {block}"), problem));
        }
        let student = Self::random(config, seed, device)?;
        let random: HashMap<String, TensorData> = collect(&student, |parameter, value| {
            (parameter.path.to_owned(), value())
        })
        .into_iter()
        .collect();
        let sources: HashSet<String> = random
            .keys()
            .filter_map(|path| inheritance.source(path))
            .collect();
        check_blocks(config, teacher, inheritance, &sources)?;
        // Only what is taken over is looked at: a teacher may be larger than memory allows twice.
        let theirs: HashMap<String, TensorData> = collect(teacher, |parameter, value| {
            let taken = sources.contains(parameter.path);
            taken.then(|| (parameter.path.to_owned(), value()))
        })
        .into_iter()
        .flatten()
        .collect();
        fill(
            student,
            device,
            Precision::F32,
            |parameter: &Parameter<'_>| {
                let own = &random[parameter.path];
                let Some(source) = inheritance.source(parameter.path) else {
                    return Ok(own.clone());
                };
                let Some(value) = theirs.get(&source) else {
                    // A bias of 0 is none, and positions that nobody learned can't be taken over.
                    if source.ends_with("bias") || source == "embed_positions.weight" {
                        return Ok(own.clone());
                    }
                    let problem = format!("the teacher has no `{source}`");
                    return Err(error(parameter.path, problem));
                };
                let vocabulary =
                    ["embed_tokens.weight", "lm_head.weight"].contains(&parameter.path);
                let taken = match value.shape() == own.shape() {
                    true => Some(value.clone()),
                    false if vocabulary => widened(value, own),
                    false => None,
                };
                taken.ok_or_else(|| {
                    let problem = format!(
                        "its shape is {:?}, and the teacher's `{source}` is {:?}",
                        own.shape(),
                        value.shape()
                    );
                    error(parameter.path, problem)
                })
            },
        )
    }
}

/// Whether blocks that are taken over compute in the student what they did in the teacher: nothing
/// of them is left behind, and positions and windows are the same.
fn check_blocks(
    config: &DecoderConfig,
    teacher: &Decoder,
    inheritance: &Inheritance,
    sources: &HashSet<String>,
) -> Result<(), ModelError> {
    let theirs = teacher.config();
    let error = |part: String, problem: String| Err(ModelError::Inherit { part, problem });
    for (layer, &block) in inheritance.blocks.iter().enumerate() {
        let prefix = format!("layers.{block}.");
        let left = collect(teacher, |parameter, _| {
            let path = parameter.path;
            (path.starts_with(&prefix) && !sources.contains(path)).then(|| path.to_owned())
        });
        if let Some(path) = left.into_iter().flatten().next() {
            let problem = format!(
                "a {} has no place for it: inherit no blocks, or keep the architecture",
                config.architecture.model_type()
            );
            return error(format!("block {block} without `{path}`"), problem);
        }
        let window = |config: &DecoderConfig, layer| {
            let window = config.sliding_window;
            let slides = window.filter(|window| layer >= window.first_layer);
            slides.map(|window| window.tokens)
        };
        let (ours, before) = (window(config, layer), window(theirs, block));
        if ours != before {
            let problem = format!(
                "the student's layer {layer} has the sliding window {ours:?}, and the teacher's block {before:?}: make them one"
            );
            return error(format!("block {block}"), problem);
        }
    }
    let learned = |config: &DecoderConfig| config.architecture.learns_positions();
    let same =
        learned(config) == learned(theirs) && (learned(config) || config.rope == theirs.rope);
    if !inheritance.blocks.is_empty() && !same {
        let problem = "positions enter the student otherwise than the teacher: keep the architecture and its rotary settings, or inherit no blocks";
        return error("blocks".to_owned(), problem.to_owned());
    }
    Ok(())
}

/// `value` with the rows (of an embedding) or the columns (of an untied head) of a padded vocabulary
/// from `own`.
fn widened(value: &TensorData, own: &TensorData) -> Option<TensorData> {
    let (&[rows, columns], &[all_rows, all_columns]) =
        (value.shape().as_slice(), own.shape().as_slice())
    else {
        return None;
    };
    let (rows_grew, columns_grew) = (rows < all_rows, columns < all_columns);
    if rows > all_rows || columns > all_columns || rows_grew == columns_grew {
        return None;
    }
    let mut values: Vec<f32> = own.iter::<f32>().collect();
    let value: Vec<f32> = value.iter::<f32>().collect();
    for (whole, part) in values
        .chunks_exact_mut(all_columns)
        .zip(value.chunks_exact(columns))
    {
        whole[..columns].copy_from_slice(part);
    }
    Some(TensorData::new(values, [all_rows, all_columns]))
}
