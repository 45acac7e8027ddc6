use distily_core::ForwardError;
use distily_layermap::LayerMapError;
use thiserror::Error;

/// Why no layers were found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LayerSearchError {
    /// A model without layers, or with too many.
    #[error(transparent)]
    Depths(#[from] LayerMapError),
    /// A model can't run a batch, or does not reveal its hidden states.
    #[error("the {model}: {source}")]
    Forward {
        /// `student` or `teacher`.
        model: &'static str,
        /// What it said.
        source: ForwardError,
    },
    /// Too few tokens to tell layers apart.
    #[error(
        "got {tokens} tokens that are not padding, expected more than {bound}: give more batches"
    )]
    TooFewTokens {
        /// Tokens that are not padding.
        tokens: usize,
        /// 1, or for a linear fit the student's width.
        bound: usize,
    },
    /// Hidden states that are not finite.
    #[error(
        "the hidden states of layer {layer} of the {model} are not finite, or too large to be \
         multiplied: check its weights"
    )]
    NotFinite {
        /// `student` or `teacher`.
        model: &'static str,
        /// The layer.
        layer: usize,
    },
    /// Hidden states that are the same for every token, or nearly so.
    #[error(
        "the hidden states of layer {layer} of the {model} vary too little from token to token to \
         be compared: give other batches, or check its weights"
    )]
    Degenerate {
        /// `student` or `teacher`.
        model: &'static str,
        /// The layer.
        layer: usize,
    },
}
