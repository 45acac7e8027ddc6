//! Logits of the scored predictions of a batch, a few at a time: all of them at once would be the
//! largest tensor of an evaluation.

use burn::tensor::{Int, Tensor, TensorData};
use distily_core::{ForwardError, LanguageModel, Taps, TokenBatch};

/// Predictions whose logits are held at once.
pub(crate) const CHUNK: usize = 256;

/// The final hidden states `[predictions, width]` of the scored predictions, in order; `None`
/// without any.
pub(crate) fn scored_hidden(
    model: &dyn LanguageModel,
    batch: &TokenBatch,
) -> Result<Option<Tensor<2>>, ForwardError> {
    let scored: Vec<i32> = batch
        .prediction_mask()
        .iter()
        .enumerate()
        .filter(|(_, scored)| **scored)
        .map(|(at, _)| at as i32)
        .collect();
    if scored.is_empty() {
        return Ok(None);
    }
    let hidden = model.forward(batch, &Taps::none())?.hidden.inner();
    let count = scored.len();
    let indices = Tensor::<1, Int>::from_data(TensorData::new(scored, [count]), &hidden.device());
    Ok(Some(hidden.flatten::<2>(0, 1).select(0, indices)))
}

/// The rows of `hidden` in chunks.
pub(crate) fn chunks(hidden: Tensor<2>) -> impl Iterator<Item = Tensor<2>> {
    hidden.split(CHUNK, 0).into_iter()
}
