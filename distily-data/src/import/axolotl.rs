use super::taught::predictions;
use super::{Prediction, Taught, prediction};
use serde::Deserialize;

pub(super) const COLUMNS: &[&str] = &[
    "input_ids",
    "labels",
    "target_logprobs",
    "target_token_ids",
    "target_mask",
    "logprobs",
];

/// A label that is not trained on.
const IGNORED: i64 = -100;

#[derive(Debug, Deserialize)]
pub(super) struct Row {
    input_ids: Vec<u32>,
    labels: Option<Vec<i64>>,
    /// Of a prepared data set.
    target_logprobs: Option<Vec<Vec<Option<f32>>>>,
    target_token_ids: Option<Vec<Vec<u32>>>,
    target_mask: Option<Vec<Vec<u8>>>,
    /// Of one that is not: what was expected in the place of each of the last tokens.
    logprobs: Option<Vec<Option<Expected>>>,
}

/// What was expected in the place of a token.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "`logprobs` are lists of numbers, or of entries with `token` and `logprob`"
)]
enum Expected {
    /// Whose ids are in `target_token_ids`.
    Logs(Vec<Option<f32>>),
    Entries(Vec<Entry>),
}

#[derive(Debug, Deserialize)]
struct Entry {
    /// `token_id:` and the id.
    token: String,
    logprob: Option<f32>,
}

impl Row {
    pub(super) fn sequence(self) -> Result<Taught, String> {
        let tokens = self.input_ids.len();
        if let Some(labels) = self.labels.as_ref().filter(|labels| labels.len() != tokens) {
            let labels = labels.len();
            return Err(format!("{labels} `labels` for {tokens} `input_ids`"));
        }
        let (first, predictions) = if self.target_logprobs.is_some() {
            (0, self.prepared()?)
        } else {
            self.unprepared()?
        };
        let taught = Taught::new(self.input_ids, first, predictions)?;
        Ok(match self.labels {
            None => taught,
            Some(labels) => taught.masked(labels.into_iter().map(|label| label != IGNORED)),
        })
    }

    fn prepared(&self) -> Result<Vec<Prediction>, String> {
        let tokens = self.input_ids.len();
        let mut logs = self.target_logprobs.clone().unwrap_or_default();
        let ids = self.ids()?;
        if logs.len() != tokens {
            let got = logs.len();
            return Err(format!("{got} `target_logprobs` for {tokens} `input_ids`"));
        }
        if let Some(mask) = &self.target_mask {
            let lengths = |lists: &mut dyn Iterator<Item = usize>| lists.collect::<Vec<_>>();
            if lengths(&mut mask.iter().map(Vec::len)) != lengths(&mut logs.iter().map(Vec::len)) {
                return Err("`target_mask` is not of the sizes of `target_logprobs`".to_owned());
            }
            for (log, &mask) in logs.iter_mut().flatten().zip(mask.iter().flatten()) {
                *log = log.filter(|_| mask != 0);
            }
        }
        let mut predictions = predictions(ids, &logs)?;
        // axolotl writes what was said of a token at that token, where its label is; who prepares for a
        // trainer that does not shift, at the token before. Only the one has something at the last token, or
        // leaves out what comes before a label that is not trained on.
        let known = |at: usize| !predictions[at].is_empty();
        let trained = |at: usize| match &self.labels {
            Some(labels) => labels[at] != IGNORED,
            None => true,
        };
        let masked = self.target_mask.is_some() && self.labels.is_some();
        let by_mask = masked && (1..tokens).any(|at| !trained(at) && known(at - 1));
        let at_own = by_mask || tokens > 0 && known(tokens - 1);
        if !at_own {
            return Ok(predictions);
        }
        if masked && (0..tokens).any(|at| known(at) && !trained(at)) {
            return Err("its `target_mask` is neither that of the `labels` nor that of the `labels` after: where its targets stand can't be told".to_owned());
        }
        // Nothing comes before a first token that could predict it.
        if !predictions.remove(0).is_empty() && !by_mask {
            return Err("targets of the first token as well as of the last: where they stand can't be told; empty the one that nothing comes before, or the one that nothing comes after".to_owned());
        }
        Ok(predictions)
    }

    /// The predictions, from the token before the first that something was said of.
    fn unprepared(&self) -> Result<(usize, Vec<Prediction>), String> {
        let tokens = self.input_ids.len();
        let expected = self.logprobs.as_ref().ok_or(
            "neither `target_logprobs` (of a prepared data set) nor `logprobs` (of one that is not): name the column of what the teacher said as one of them",
        )?;
        let first = tokens.checked_sub(expected.len()).ok_or_else(|| {
            let got = expected.len();
            format!("{got} `logprobs` for {tokens} `input_ids`")
        })?;
        if let Some(ids) = &self.target_token_ids
            && ids.len() != expected.len()
        {
            let (ids, logs) = (ids.len(), expected.len());
            return Err(format!("{ids} `target_token_ids` for {logs} `logprobs`"));
        }
        let predictions = expected.iter().enumerate().map(|(at, expected)| {
            let known = match expected {
                None => Ok(Prediction::new()),
                Some(Expected::Logs(logs))
                    if logs.is_empty() && self.target_token_ids.is_none() =>
                {
                    Ok(Prediction::new())
                }
                Some(Expected::Logs(logs)) => {
                    let ids = self.ids()?;
                    let ids = ids.get(at).map_or(&[][..], Vec::as_slice);
                    if ids.len() == logs.len() {
                        prediction(ids.iter().copied().zip(logs.iter().copied()))
                    } else {
                        let (ids, logs) = (ids.len(), logs.len());
                        Err(format!(
                            "{ids} `target_token_ids`, but {logs} log-probabilities"
                        ))
                    }
                }
                Some(Expected::Entries(entries)) => {
                    let entries = entries.iter().map(|entry| Ok((entry.id()?, entry.logprob)));
                    let entries = entries.collect::<Result<Vec<_>, String>>();
                    entries.and_then(prediction)
                }
            };
            known.map_err(|problem| format!("place {at} of `logprobs`: {problem}"))
        });
        let mut predictions = predictions.collect::<Result<Vec<_>, String>>()?;
        if first > 0 {
            return Ok((first - 1, predictions));
        }
        // Nothing comes before a first token that could predict it.
        if !predictions.is_empty() && !predictions.remove(0).is_empty() {
            return Err(
                "`logprobs` of the first token, expected null: they are shifted".to_owned(),
            );
        }
        Ok((0, predictions))
    }

    fn ids(&self) -> Result<&[Vec<u32>], String> {
        let ids = self.target_token_ids.as_deref();
        ids.ok_or_else(|| "no `target_token_ids`".to_owned())
    }
}

impl Entry {
    fn id(&self) -> Result<u32, String> {
        let id = self.token.strip_prefix("token_id:");
        id.and_then(|id| id.parse().ok()).ok_or_else(|| {
            let token = &self.token;
            format!("the token {token:?}, expected `token_id:` and a number: ask vLLM with `return_tokens_as_token_ids`")
        })
    }
}
