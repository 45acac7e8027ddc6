use crate::fill::{Parameter, collect, fill};
use crate::{Activation, Architecture, Decoder, DecoderConfig, ModelError, Precision};
use burn::tensor::{Device, TensorData};
use distily_core::{LanguageModel, Seed};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

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
        let mut config = match self.architecture {
            Some(other) if other != teacher.architecture => translated(teacher, other),
            _ => teacher.clone(),
        };
        config.layers = self.layers.unwrap_or(teacher.layers);
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
            config.kv_heads = if heads.is_multiple_of(group) {
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

/// A model of an architecture with the sizes of another.
fn translated(config: &DecoderConfig, architecture: Architecture) -> DecoderConfig {
    let mut translated = DecoderConfig {
        vocabulary: config.vocabulary,
        width: config.width,
        layers: config.layers,
        heads: config.heads,
        kv_heads: config.kv_heads,
        head_width: config.head_width,
        feed_forward_width: config.feed_forward_width,
        positions: config.positions,
        norm_epsilon: config.norm_epsilon,
        tied_head: config.tied_head,
        initializer_range: config.initializer_range,
        begin_of_text: config.begin_of_text,
        end_of_text: config.end_of_text.clone(),
        padding: config.padding,
        ..DecoderConfig::of(architecture)
    };
    if architecture == Architecture::Gpt2 {
        translated.kv_heads = config.heads;
        translated.head_width = config.width / config.heads;
    }
    translated
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
        let theirs: HashMap<String, TensorData> = collect(teacher, |parameter, value| {
            (parameter.path.to_owned(), value())
        })
        .into_iter()
        .collect();
        fill(
            student,
            device,
            Precision::F32,
            |parameter: &Parameter<'_>| {
                let own = &random[parameter.path];
                let source = inheritance.source(parameter.path);
                let Some(source) = source.filter(|source| {
                    source != "embed_positions.weight" || theirs.contains_key(source)
                }) else {
                    return Ok(own.clone());
                };
                let value = theirs.get(&source).ok_or_else(|| {
                    error(parameter.path, format!("the teacher has no `{source}`"))
                })?;
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
