use distily_core::{BatchError, Cache, ForwardError, LanguageModel, TokenBatch};
use thiserror::Error;

/// Why a text can't be continued.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The prompt has no token.
    #[error("the prompt: {0}")]
    Prompt(#[from] BatchError),
    /// The model could not run.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// Continues a prompt with the likeliest token each time, until `end_of_text` or for `tokens`
/// tokens; returns the new ids, without the end.
///
/// # Errors
///
/// [`GenerateError`].
pub fn greedy(
    model: &dyn LanguageModel,
    prompt: &[u32],
    tokens: usize,
    end_of_text: &[u32],
) -> Result<Vec<u32>, GenerateError> {
    let mut cache = Cache::default();
    let mut batch = TokenBatch::new(prompt.to_vec(), [1, prompt.len()])?;
    let mut next = Vec::new();
    while next.len() < tokens {
        let outputs = model.forward_cached(&batch, &distily_core::Taps::logits(), &mut cache)?;
        let logits = outputs.logits.ok_or(ForwardError::NotRevealed("logits"))?;
        let last = logits.dims()[1] - 1;
        let id = logits.narrow(1, last, 1).argmax(2).into_scalar::<i64>() as u32;
        if end_of_text.contains(&id) {
            break;
        }
        next.push(id);
        let position = (prompt.len() + next.len() - 1) as u32;
        batch = TokenBatch::new(vec![id], [1, 1])?.with_positions(vec![position])?;
    }
    Ok(next)
}
