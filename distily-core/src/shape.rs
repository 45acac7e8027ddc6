use crate::{ForwardError, Taps, TokenBatch};
use serde::{Deserialize, Serialize};

/// The sizes of a decoder language model.
///
/// A field that does not apply to a model (heads, for one without attention) is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelShape {
    /// Columns of the logits; ids are below it.
    pub vocabulary: usize,
    /// Width of the hidden state.
    pub width: usize,
    /// Decoder blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; fewer than `heads` under grouped-query attention.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_width: usize,
    /// Width inside the feed-forward block.
    pub feed_forward_width: usize,
    /// Longest sequence that the model was made for; 0 when it has no limit.
    pub positions: usize,
}

impl ModelShape {
    /// Whether a model of this shape can run `batch` and serve `taps`.
    ///
    /// # Errors
    ///
    /// An id that is not in the vocabulary, a position beyond the model's, a tap of a layer that
    /// the model does not have.
    pub fn check(&self, batch: &TokenBatch, taps: &Taps) -> Result<(), ForwardError> {
        let id = batch.largest_id();
        if id as usize >= self.vocabulary {
            return Err(ForwardError::UnknownId {
                id,
                vocabulary: self.vocabulary,
            });
        }
        let length = batch.longest();
        if self.positions > 0 && length > self.positions {
            return Err(ForwardError::TooLong {
                length,
                positions: self.positions,
            });
        }
        match taps.last_layer() {
            Some(layer) if layer >= self.layers => Err(ForwardError::NoSuchLayer {
                layer,
                layers: self.layers,
            }),
            _ => Ok(()),
        }
    }
}
