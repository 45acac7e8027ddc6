use super::{Prediction, Taught, prediction};
use serde::Deserialize;
use std::collections::BTreeMap;

pub(super) const COLUMNS: &[&str] = &["choices", "prompt_logprobs", "prompt_token_ids"];

/// A server's answer to a completion or a chat.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    choices: Vec<Choice>,
    /// Of a chat's one prompt.
    prompt_logprobs: Option<PromptLogprobs>,
    prompt_token_ids: Option<Vec<u32>>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    index: usize,
    /// Of a completion's prompt.
    prompt_logprobs: Option<PromptLogprobs>,
    prompt_token_ids: Option<Vec<u32>>,
}

/// For each token of a prompt, what was expected in its place; null for the first.
pub(crate) type PromptLogprobs = Vec<Option<Entries>>;

/// By id.
type Entries = BTreeMap<u32, Logprob>;

#[derive(Debug, Deserialize)]
pub(crate) struct Logprob {
    logprob: Option<f32>,
    /// From 1.
    rank: Option<usize>,
}

const NO_LOGPROBS: &str =
    "no `prompt_logprobs`: ask for them, with how many likeliest ids a token is to have";

impl Answer {
    /// The prompts, and what was said of them.
    pub(super) fn sequences(self) -> Result<Vec<Taught>, String> {
        let sequence = |logprobs: Option<PromptLogprobs>, ids: Option<Vec<u32>>| {
            let logprobs = logprobs.ok_or(NO_LOGPROBS)?;
            let ids = ids.ok_or("no `prompt_token_ids`: ask with `return_token_ids`")?;
            let predictions = predictions(&ids, logprobs)?;
            Taught::new(ids, 0, predictions)
        };
        if self.prompt_logprobs.is_some() {
            return Ok(vec![sequence(self.prompt_logprobs, self.prompt_token_ids)?]);
        }
        let mut choices = self.choices;
        choices.sort_by_key(|choice| choice.index);
        let of_choice = |choice: Choice| {
            sequence(choice.prompt_logprobs, choice.prompt_token_ids)
                .map_err(|problem| format!("choice {}: {problem}", choice.index))
        };
        choices.into_iter().map(of_choice).collect()
    }

    /// What was said of each of some prompts, in their order.
    pub(crate) fn of_prompts(self, prompts: usize) -> Result<Vec<PromptLogprobs>, String> {
        let mut choices = self.choices;
        choices.sort_by_key(|choice| choice.index);
        let indices = choices.iter().map(|choice| choice.index);
        if !indices.eq(0..prompts) {
            let got: Vec<usize> = choices.iter().map(|choice| choice.index).collect();
            return Err(format!(
                "the choices {got:?}, expected 0 to {}",
                prompts - 1
            ));
        }
        let of_choice = |choice: Choice| choice.prompt_logprobs.ok_or(NO_LOGPROBS.to_owned());
        choices.into_iter().map(of_choice).collect()
    }
}

/// What is predicted at each token of a prompt but its last, from what was expected in the place of
/// each but its first.
pub(crate) fn predictions(
    ids: &[u32],
    logprobs: PromptLogprobs,
) -> Result<Vec<Prediction>, String> {
    if logprobs.len() != ids.len() {
        let (got, expected) = (logprobs.len(), ids.len());
        return Err(format!(
            "{got} `prompt_logprobs` for a prompt of {expected} tokens"
        ));
    }
    let mut places = logprobs.into_iter().zip(ids).enumerate();
    if let Some((_, (Some(_), _))) = places.next() {
        return Err(
            "`prompt_logprobs` of the first token, expected null: they are shifted".to_owned(),
        );
    }
    let of_place = |(at, (entries, id)): (usize, (Option<Entries>, &u32))| {
        let place = |problem: &str| format!("`prompt_logprobs` of token {at}: {problem}");
        let entries = entries.ok_or_else(|| {
            place("null, which only the first may be: serve without prefix caching")
        })?;
        // The prompt's own token is there even if it is none of the likeliest.
        if !entries.contains_key(id) {
            return Err(place(&format!(
                "no entry for {id}, which is the prompt's token: they are shifted, or of another prompt"
            )));
        }
        let count = entries.len();
        let likeliest = entries
            .into_iter()
            .filter(|(_, entry)| entry.rank.is_none_or(|rank| rank <= count));
        prediction(likeliest.map(|(id, entry)| (id, entry.logprob)))
            .map_err(|problem| place(&problem))
    };
    places.map(of_place).collect()
}
