mod config;
mod error;
mod request;

use crate::import::{Prediction, vllm};
use crate::recording::rows_of;
use burn::tensor::{Device, Int, Tensor, TensorData};
use distily_core::{
    Answer, Distribution, Features, ForwardError, ModelShape, Taps, Teacher, TokenBatch,
};
use request::Client;
use serde_json::json;
use std::sync::Arc;

pub use config::ServerConfig;
pub use error::ServerError;

/// A teacher behind a server that speaks as vLLM does: it is sent tokens, and says which ids were likely
/// in the place of each. Make one by [`ServerConfig::teacher`]; record it by
/// [`Recorder::record`](crate::Recorder::record).
///
/// Each document of a row is a prompt of its own, and a batch is one request. Of a document's last token
/// nothing is known, and of the others at most `k` ids and one that may be less likely, at temperature 1.
#[derive(Debug, Clone)]
pub struct ServerTeacher {
    client: Arc<Client>,
    config: ServerConfig,
    shape: ModelShape,
    device: Device,
}

impl ServerTeacher {
    /// What is predicted at each token of some prompts, of at least two tokens each, but the last.
    fn predictions(&self, prompts: &[&[u32]]) -> Result<Vec<Vec<Prediction>>, ServerError> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let question = json!({
            "model": self.config.model,
            "prompt": prompts,
            "max_tokens": 1,
            "temperature": 1.0,
            "prompt_logprobs": self.config.k,
        });
        let tokens: usize = prompts.iter().map(|prompt| prompt.len()).sum();
        let answer = self
            .client
            .post(&question, self.config.answer_bytes(tokens))?;
        let wrong = |problem: String| self.client.wrong_answer(problem);
        let answer: vllm::Answer =
            serde_json::from_slice(&answer).map_err(|problem| wrong(problem.to_string()))?;
        let logprobs = answer.of_prompts(prompts.len()).map_err(wrong)?;
        let prompts = prompts.iter().zip(logprobs).enumerate();
        let of_prompt = |(number, (prompt, logprobs)): (usize, (&&[u32], _))| {
            let predictions = vllm::predictions(prompt, logprobs);
            let predictions =
                predictions.map_err(|problem| wrong(format!("prompt {number}: {problem}")))?;
            // The ids that were asked for, and the prompt's own.
            let most = self.config.k.saturating_add(1);
            if let Some(more) = predictions.iter().find(|known| known.len() > most) {
                let got = more.len();
                return Err(wrong(format!(
                    "prompt {number}: {got} ids for a token, of which {most} were asked for at most"
                )));
            }
            let ids = predictions.iter().flatten().map(|&(id, _)| id);
            match ids.max().filter(|&id| id >= self.shape.vocabulary) {
                Some(id) => Err(self.client.other_vocabulary(id, self.shape.vocabulary)),
                None => Ok(predictions),
            }
        };
        prompts.map(of_prompt).collect()
    }
}

impl Teacher for ServerTeacher {
    fn shape(&self) -> ModelShape {
        self.shape.clone()
    }

    /// [`Distribution::Sparse`].
    ///
    /// # Errors
    ///
    /// [`ForwardError::Elsewhere`] with a [`ServerError`].
    fn answer(&self, batch: &TokenBatch, taps: &Taps) -> Result<Answer, ForwardError> {
        self.shape.check(batch, taps)?;
        if taps.last_layer().is_some() || taps.wants_embedding() {
            return Err(ForwardError::NotRevealed(
                "what is between its layers, for it is on a server",
            ));
        }
        let [rows, length] = batch.shape();
        let all = rows_of(batch);
        let documents = all.iter().enumerate().flat_map(|(number, row)| {
            let documents = row.documents.iter().filter(|document| document.len() > 1);
            documents.map(move |document| (number * length, row, document.clone()))
        });
        let documents: Vec<_> = documents.collect();
        let prompts = documents
            .iter()
            .map(|(_, row, document)| &row.ids[document.clone()]);
        let predictions = self
            .predictions(&prompts.collect::<Vec<_>>())
            .map_err(|problem| ForwardError::Elsewhere(Box::new(problem)))?;
        let k = predictions.iter().flatten().map(Vec::len).max();
        let k = k.unwrap_or(0).max(1);
        let mut ids = vec![0i64; rows * length * k];
        let mut probabilities = vec![0f32; rows * length * k];
        let mut tail = vec![1f32; rows * length];
        for ((start, row, document), predictions) in documents.into_iter().zip(predictions) {
            for (&place, known) in row.places[document].iter().zip(predictions) {
                let token = start + place;
                for (at, &(id, p)) in known.iter().enumerate() {
                    ids[token * k + at] = id as i64;
                    probabilities[token * k + at] = p as f32;
                }
                let mass: f64 = known.iter().map(|(_, p)| p).sum();
                tail[token] = (1.0 - mass).max(0.0) as f32;
            }
        }
        let shape = [rows, length, k];
        Ok(Answer {
            distribution: Distribution::Sparse {
                ids: Tensor::<3, Int>::from_data(TensorData::new(ids, shape), &self.device),
                probabilities: Tensor::from_data(
                    TensorData::new(probabilities, shape),
                    &self.device,
                ),
                tail: Tensor::from_data(TensorData::new(tail, [rows, length]), &self.device),
                temperature: 1.0,
            },
            features: Features::default(),
        })
    }

    fn on(&self, device: &Device) -> Arc<dyn Teacher> {
        Arc::new(Self {
            device: device.clone().without_autodiff(),
            ..self.clone()
        })
    }
}
