use distily_core::{BatchError, ForwardError};
use distily_data::DataError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How texts are continued. The default takes the likeliest token every time.
///
/// The settings mean what they mean in transformers, and apply in its order: repetition penalty,
/// temperature, top-k, top-p.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerationConfig {
    /// New tokens, at most.
    pub tokens: usize,
    /// Divisor of the logits; 0 takes the likeliest token.
    pub temperature: f64,
    /// Only this many of the likeliest tokens are drawn from.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that together have this probability are drawn from (Holtzman et
    /// al., 1904.09751).
    pub top_p: Option<f64>,
    /// Divisor of the positive and factor of the negative logits of tokens that were there before
    /// (Keskar et al., 1909.05858, section 4.1).
    pub repetition_penalty: f64,
    /// Strings that end a text; they are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end a text; they are not part of it.
    pub end_of_text: Vec<u32>,
    /// What the draws depend on. Each row has draws of its own, whatever rows are beside it.
    pub seed: u64,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            tokens: 64,
            temperature: 0.0,
            top_k: None,
            top_p: None,
            repetition_penalty: 1.0,
            stop: Vec::new(),
            end_of_text: Vec::new(),
            seed: 0,
        }
    }
}

impl GenerationConfig {
    pub(super) fn check(&self) -> Result<(), GenerateError> {
        let error = |field, got: String, expected| {
            Err(GenerateError::Config {
                field,
                got,
                expected,
            })
        };
        let Self {
            temperature,
            repetition_penalty: penalty,
            ..
        } = *self;
        if !(temperature >= 0.0 && temperature.is_finite()) {
            let expected = "0 for the likeliest token, or a positive number";
            return error("temperature", temperature.to_string(), expected);
        }
        if self.top_k == Some(0) {
            return error("top_k", "0".to_owned(), "a positive number, or none");
        }
        if let Some(p) = self.top_p
            && !(p > 0.0 && p <= 1.0)
        {
            return error("top_p", p.to_string(), "more than 0 and at most 1, or none");
        }
        if !(penalty > 0.0 && penalty.is_finite()) {
            let expected = "a positive number; 1 for none";
            return error("repetition_penalty", penalty.to_string(), expected);
        }
        if self.stop.iter().any(String::is_empty) {
            let expected = "strings that are not empty";
            return error("stop", format!("{:?}", self.stop), expected);
        }
        Ok(())
    }
}

/// Why a text can't be continued.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A setting that means nothing.
    #[error("`{field}`: got {got}, expected {expected}")]
    Config {
        /// The setting.
        field: &'static str,
        /// Its value.
        got: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A prompt without a token.
    #[error("prompt {row} has no token: begin it with the model's begin-of-text token")]
    EmptyPrompt {
        /// Which prompt, from 0.
        row: usize,
    },
    /// No prompt.
    #[error("the prompts: {0}")]
    Prompts(#[from] BatchError),
    /// A model whose logits are no numbers.
    #[error("the model's logits for row {row} are no numbers: did its training diverge?")]
    NotFinite {
        /// Which prompt, from 0.
        row: usize,
    },
    /// The model could not run.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The tokenizer could not read what the model wrote.
    #[error(transparent)]
    Text(#[from] DataError),
}
