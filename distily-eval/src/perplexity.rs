use crate::logits::{CHUNK, chunks, scored_hidden};
use burn::tensor::{Int, Tensor, TensorData};
use distily_core::{ForwardError, LanguageModel, TokenBatch};
use serde::Serialize;

/// How surprised a model is by a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Perplexity {
    /// The summed negative log-likelihood, in nats.
    pub negative_log_likelihood: f64,
    /// How many tokens were predicted.
    pub tokens: usize,
}

impl Perplexity {
    /// exp(Σ nll / Σ tokens), over the whole corpus; NaN without tokens.
    pub fn perplexity(&self) -> f64 {
        (self.negative_log_likelihood / self.tokens as f64).exp()
    }
}

/// Measures a model on every scored prediction of some batches.
///
/// # Errors
///
/// [`ForwardError`] where the model can't run a batch.
pub fn perplexity(
    model: &dyn LanguageModel,
    batches: impl IntoIterator<Item = TokenBatch>,
) -> Result<Perplexity, ForwardError> {
    let head = model.head().detached();
    let mut measured = Perplexity::default();
    for batch in batches {
        let Some(hidden) = scored_hidden(model, &batch)? else {
            continue;
        };
        let mask = batch.prediction_mask();
        let targets: Vec<i32> = batch
            .targets()
            .iter()
            .zip(&mask)
            .filter(|(_, scored)| **scored)
            .map(|(&id, _)| id as i32)
            .collect();
        for (hidden, targets) in chunks(hidden).zip(targets.chunks(CHUNK)) {
            let count = targets.len();
            let device = hidden.device();
            let ids = TensorData::new(targets.to_vec(), [count]);
            let loss = distily_kernels::cross_entropy(
                head.logits(hidden),
                Tensor::<1, Int>::from_data(ids, &device),
                Tensor::ones([count], &device),
            );
            measured.negative_log_likelihood += f64::from(loss.value.into_scalar::<f32>());
            measured.tokens += count;
        }
    }
    Ok(measured)
}
