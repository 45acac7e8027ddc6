mod compression;

use super::{Prediction, Taught, prediction};
use serde::Deserialize;

pub(super) use compression::Compression;

pub(super) const COLUMNS: &[&str] = &["input_ids", "compressed_logprobs", "bytepacked_indices"];

/// A sequence, and the bytes of what is predicted at each of its tokens: the sampler leaves out the
/// first token's place, so that nothing is to shift, and the last token has none.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    input_ids: Vec<u32>,
    compressed_logprobs: Vec<Vec<u8>>,
    bytepacked_indices: Vec<Vec<u8>>,
}

impl Row {
    pub(super) fn sequence(self, compression: &Compression) -> Result<Taught, String> {
        let (tokens, logs) = (self.input_ids.len(), self.compressed_logprobs.len());
        if logs != self.bytepacked_indices.len() || logs + 1 != tokens {
            return Err(format!(
                "{logs} `compressed_logprobs` and {} `bytepacked_indices` for {tokens} `input_ids`, expected one fewer",
                self.bytepacked_indices.len()
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
        Taught::new(self.input_ids, 0, predictions?)
    }
}
