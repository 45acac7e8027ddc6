mod compression;

use super::{Prediction, Taught, prediction};
use serde::Deserialize;

pub(super) use compression::Compression;

pub(super) const COLUMNS: &[&str] = &[
    "input_ids",
    "attention_mask",
    "compressed_logprobs",
    "bytepacked_indices",
];

/// Tokens, and the bytes of what is predicted at each of them: the sampler leaves out the first token's
/// place, so that nothing is to shift. It has none for the last token; who packs its rows cuts that off,
/// and numbers their samples in the mask.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    input_ids: Vec<u32>,
    attention_mask: Option<Vec<u32>>,
    compressed_logprobs: Vec<Vec<u8>>,
    bytepacked_indices: Vec<Vec<u8>>,
}

impl Row {
    /// Its samples.
    pub(super) fn sequences(self, compression: &Compression) -> Result<Vec<Taught>, String> {
        let (tokens, logs) = (self.input_ids.len(), self.compressed_logprobs.len());
        let ids = self.bytepacked_indices.len();
        if logs != ids || ![logs, logs + 1].contains(&tokens) {
            return Err(format!(
                "{logs} `compressed_logprobs` and {ids} `bytepacked_indices` for {tokens} `input_ids`, expected as many, or one fewer"
            ));
        }
        let mask = self.attention_mask.unwrap_or_else(|| vec![1; tokens]);
        if mask.len() != tokens {
            let mask = mask.len();
            return Err(format!(
                "{mask} in `attention_mask` for {tokens} `input_ids`"
            ));
        }
        let both = self
            .compressed_logprobs
            .iter()
            .zip(&self.bytepacked_indices);
        let of_token = |(at, (logs, ids)): (usize, (&Vec<u8>, &Vec<u8>))| {
            let known = || {
                let (ids, logs) = (compression.ids(ids)?, compression.logs(logs)?);
                prediction(ids.into_iter().zip(logs.into_iter().map(Some)))
            };
            known().map_err(|problem| format!("token {at}: {problem}"))
        };
        let predictions: Result<Vec<Prediction>, String> = both.enumerate().map(of_token).collect();
        let (mut ids, mut predictions) = (self.input_ids.into_iter(), predictions?.into_iter());
        let samples = mask.chunk_by(|a, b| a == b).map(|sample| {
            let ids = ids.by_ref().take(sample.len()).collect();
            let mut predictions: Vec<_> = predictions.by_ref().take(sample.len()).collect();
            // What comes after its last token is not there.
            predictions.truncate(sample.len() - 1);
            // What is masked is padding.
            (sample[0] > 0).then(|| Taught::new(ids, 0, predictions))
        });
        samples.flatten().collect()
    }
}
