use super::Taught;
use super::taught::predictions;
use serde::Deserialize;

pub(super) const COLUMNS: &[&str] = &[
    "sequences",
    "prompt_lengths",
    "logprobs",
    "logprob_token_ids",
];

/// What was asked of the server, and what it said of the tokens after each prompt. A token's
/// log-probabilities are those of what was expected in its place.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    sequences: Vec<Vec<u32>>,
    prompt_lengths: Vec<usize>,
    /// Null where the server got no number.
    logprobs: Vec<Vec<Vec<Option<f32>>>>,
    logprob_token_ids: Vec<Vec<Vec<u32>>>,
}

impl Answer {
    pub(super) fn sequences(self) -> Result<Vec<Taught>, String> {
        let expected = self.sequences.len();
        for (what, got) in [
            ("`prompt_lengths`", self.prompt_lengths.len()),
            ("`logprobs`", self.logprobs.len()),
            ("`logprob_token_ids`", self.logprob_token_ids.len()),
        ] {
            if got != expected {
                return Err(format!("{got} {what} for {expected} `sequences`"));
            }
        }
        let asked = self.sequences.into_iter().zip(self.prompt_lengths);
        let said = self.logprob_token_ids.iter().zip(&self.logprobs);
        let both = asked.zip(said).enumerate();
        both.map(|(at, ((tokens, prompt), (ids, logs)))| {
            sequence(tokens, prompt, ids, logs)
                .map_err(|problem| format!("sequence {at}: {problem}"))
        })
        .collect()
    }
}

fn sequence(
    tokens: Vec<u32>,
    prompt: usize,
    ids: &[Vec<u32>],
    logs: &[Vec<Option<f32>>],
) -> Result<Taught, String> {
    if tokens.len().checked_sub(prompt) != Some(ids.len()) {
        return Err(format!(
            "`logprob_token_ids` of {} tokens, but a prompt of {prompt} in {} tokens",
            ids.len(),
            tokens.len()
        ));
    }
    let mut predictions = predictions(ids, logs)?;
    if prompt == 0 && !predictions.is_empty() {
        // Nothing comes before a first token that could predict it: the server says nothing of it.
        predictions.remove(0);
    }
    Taught::new(tokens, prompt.saturating_sub(1), predictions)
}
