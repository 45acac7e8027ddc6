//! What a distillation lost: perplexity, agreement, and the texts that a model writes.
//!
//! Everything here asks for a `dyn LanguageModel` and batches of tokens, so a float, a ternary and a
//! packed model are measured alike.
//!
//! ```
//! # use distily_core::{ForwardError, Head, LanguageModel, ModelShape, Outputs, Taps, TokenBatch};
//! # use burn::tensor::{Device, Tensor};
//! # #[derive(Debug)] struct Uniform(Device);
//! # impl LanguageModel for Uniform {
//! #     fn shape(&self) -> ModelShape { ModelShape { vocabulary: 8, width: 2, ..Default::default() } }
//! #     fn device(&self) -> Device { self.0.clone() }
//! #     fn head(&self) -> Head { Head::by_vocabulary(Tensor::zeros([8, 2], &self.0)) }
//! #     fn forward(&self, batch: &TokenBatch, taps: &Taps) -> Result<Outputs, ForwardError> {
//! #         let [rows, length] = batch.shape();
//! #         Ok(Outputs::new(Tensor::zeros([rows, length, 2], &self.0), &self.head(), taps))
//! #     }
//! # }
//! # let model = Uniform(Device::flex());
//! use distily_eval::perplexity;
//!
//! let batch = TokenBatch::new(vec![1, 2, 3, 4], [1, 4])?;
//! let measured = perplexity(&model, [batch])?;
//! assert_eq!(measured.tokens, 3);
//! assert!((measured.perplexity() - 8.0).abs() < 1e-4); // this model knows nothing of 8 tokens
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agreement;
mod generation;
mod logits;
mod perplexity;

pub use agreement::{Agreement, agreement};
pub use generation::{
    Continuation, Finish, GenerateError, Generation, GenerationConfig, Sampler, generate,
};
pub use perplexity::{Perplexity, perplexity};
