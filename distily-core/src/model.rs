use crate::{Head, ModelShape, Outputs, Taps, TokenBatch};
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};
use std::fmt::Debug;
use thiserror::Error;

/// Why a model can't run a batch.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The batch has an id that the model has no embedding for.
    #[error(
        "token id {id} is not in the model's vocabulary of {vocabulary}: was the text tokenised for another model?"
    )]
    UnknownId {
        /// The largest id of the batch.
        id: u32,
        /// The model's vocabulary.
        vocabulary: usize,
    },
    /// The batch has a position that the model was not made for.
    #[error(
        "the batch is {length} tokens long, but the model has {positions} positions: shorten the sequences"
    )]
    TooLong {
        /// The largest position of the batch, plus one.
        length: usize,
        /// The model's positions.
        positions: usize,
    },
    /// A tap names a layer that is not there.
    #[error(
        "layer {layer} is tapped, but the model has {layers} layers (the first is 0, the last {last})",
        last = layers.saturating_sub(1)
    )]
    NoSuchLayer {
        /// The layer asked for.
        layer: usize,
        /// How many the model has.
        layers: usize,
    },
    /// The model can't serve a tap.
    #[error("this model does not reveal {0}")]
    NotRevealed(&'static str),
    /// A teacher that is no model in memory does not know what was asked.
    #[error("{0}")]
    Unanswered(String),
    /// A teacher elsewhere did not answer; the error is of its own type.
    #[error(transparent)]
    Elsewhere(Box<dyn std::error::Error + Send + Sync>),
    /// The model keeps no keys and values.
    #[error("this model has no cached forward pass")]
    NotCached,
    /// A batch begins again at positions that are cached.
    #[error(
        "row {row} continues at position {position}, but position {cached} of its document is cached: count on, with `TokenBatch::with_positions`"
    )]
    PositionsDoNotRise {
        /// The row.
        row: usize,
        /// The position of its first new token.
        position: u32,
        /// The position of its last cached token.
        cached: u32,
    },
    /// A cache is continued by a batch with another number of rows.
    #[error("the cache holds {cached} rows, but the batch has {rows}")]
    OtherRows {
        /// Rows of the cache.
        cached: usize,
        /// Rows of the batch.
        rows: usize,
    },
}

/// The keys and values of one layer, as cached for generation.
#[derive(Debug, Clone)]
pub struct CachedLayer {
    /// After rotary positions, `[batch, cached, kv_heads, head_width]`.
    pub keys: Tensor<4>,
    /// `[batch, cached, kv_heads, head_width]`.
    pub values: Tensor<4>,
}

/// What generation keeps between forward passes: keys and values by layer, and where each cached
/// token stands.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    /// One for each layer; empty before the first pass.
    pub layers: Vec<CachedLayer>,
    /// The cached tokens; `None` before the first pass.
    tokens: Option<TokenBatch>,
}

impl Cache {
    /// The tokens whose keys and values are cached; `None` before the first pass.
    pub fn tokens(&self) -> Option<&TokenBatch> {
        self.tokens.as_ref()
    }

    /// The cached tokens followed by those of `batch`, which are cached from now on; a model calls
    /// this once a pass.
    ///
    /// # Errors
    ///
    /// [`ForwardError::OtherRows`].
    pub fn extend(&mut self, batch: &TokenBatch) -> Result<&TokenBatch, ForwardError> {
        let tokens = match &self.tokens {
            None => batch.clone(),
            Some(cached) => {
                let tokens = cached.followed_by(batch).ok_or(ForwardError::OtherRows {
                    cached: cached.shape()[0],
                    rows: batch.shape()[0],
                })?;
                check_positions(cached, batch)?;
                tokens
            }
        };
        Ok(self.tokens.insert(tokens))
    }
}

/// Whether the rows of `next` count on where `cached` stands.
fn check_positions(cached: &TokenBatch, next: &TokenBatch) -> Result<(), ForwardError> {
    fn ends<T: Copy>(cached: &[T], next: &[T], lengths: [usize; 2]) -> Vec<(T, T)> {
        let last = cached
            .chunks_exact(lengths[0])
            .map(|row| row[lengths[0] - 1]);
        last.zip(next.chunks_exact(lengths[1]).map(|row| row[0]))
            .collect()
    }
    let lengths = [cached.shape()[1], next.shape()[1]];
    let segments = ends(cached.segments().ids(), next.segments().ids(), lengths);
    let positions = ends(cached.positions(), next.positions(), lengths);
    for (row, (segment, position)) in segments.into_iter().zip(positions).enumerate() {
        if segment.0 != 0 && segment.0 == segment.1 && position.1 <= position.0 {
            return Err(ForwardError::PositionsDoNotRise {
                row,
                position: position.1,
                cached: position.0,
            });
        }
    }
    Ok(())
}

/// A language model that reads tokens from left to right; object-safe.
///
/// Float, ternary and packed models all are one. Evaluation and teaching ask for nothing more;
/// training asks for a [`CausalLm`]. The crate's first page implements one.
pub trait LanguageModel: Debug + Send {
    /// The model's sizes.
    fn shape(&self) -> ModelShape;

    /// Where its parameters are. An autodiff device means that a forward pass builds a graph.
    fn device(&self) -> Device;

    /// The output projection, in the graph where the model is.
    fn head(&self) -> Head;

    /// Runs a batch and keeps what `taps` asks for. Position `t` sees the positions `<= t` of its
    /// own segment, and nothing of padding.
    ///
    /// # Errors
    ///
    /// What [`ModelShape::check`] finds, and [`ForwardError::NotRevealed`] for a tap that the model
    /// can't serve.
    fn forward(&self, batch: &TokenBatch, taps: &Taps) -> Result<Outputs, ForwardError>;

    /// Runs the tokens that follow those in `cache`, adds them to it, and returns what `taps` asks
    /// for of the new ones. `batch` continues the rows of the cache: its positions count on.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward); [`ForwardError::NotCached`] unless a model implements it.
    fn forward_cached(
        &self,
        batch: &TokenBatch,
        taps: &Taps,
        cache: &mut Cache,
    ) -> Result<Outputs, ForwardError> {
        let _ = (batch, taps, cache);
        Err(ForwardError::NotCached)
    }
}

/// A language model that can be trained: any [`LanguageModel`] that is a burn module.
pub trait CausalLm: LanguageModel + Module + ModuleDisplay {}

impl<M: LanguageModel + Module + ModuleDisplay> CausalLm for M {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_continued_where_it_stands() {
        let batch = |ids: &[u32]| TokenBatch::new(ids.to_vec(), [1, ids.len()]).unwrap();
        let mut cache = Cache::default();
        cache.extend(&batch(&[1, 2, 3])).unwrap();
        let error = cache.extend(&batch(&[4])).unwrap_err();
        assert!(error.to_string().contains("with_positions"), "{error}");
        let next = batch(&[4]).with_positions(vec![3]).unwrap();
        assert_eq!(cache.extend(&next).unwrap().positions(), [0, 1, 2, 3]);
        let two = TokenBatch::new(vec![1, 2], [2, 1]).unwrap();
        assert!(matches!(
            cache.extend(&two),
            Err(ForwardError::OtherRows { cached: 1, rows: 2 })
        ));
    }
}
