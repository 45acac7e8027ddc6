//! The words that every Distily crate speaks.
//!
//! A distillation is one sentence: *a batch of tokens goes through a student and a teacher; an
//! objective compares what both reveal; the student learns.* This crate holds its nouns and no
//! implementation: [`TokenBatch`], [`Taps`], [`Outputs`], [`LanguageModel`], [`Head`],
//! [`Teacher`], [`Distribution`], [`Term`], [`Objective`]. Bring your own burn model by
//! implementing [`LanguageModel`]; everything else in Distily then works with it.
//!
//! ```
//! use distily_core::{Feature, Taps, TokenBatch};
//!
//! // Two rows of one batch; the second is padded. Padding is never attended to, never scored.
//! let batch = TokenBatch::padded_right(&[vec![5, 6, 7, 8], vec![9, 10]], 0)?;
//! assert_eq!(batch.shape(), [2, 4]);
//! assert_eq!(batch.predictions(), 3 + 1); // every token but the first of a row is predicted
//!
//! // What a forward pass should keep: the logits, and the hidden states of two layers.
//! let taps = Taps::logits().with(3, Feature::Hidden).with(7, Feature::Hidden);
//! assert!(taps.wants(3, Feature::Hidden) && !taps.wants(3, Feature::Query));
//! # Ok::<(), distily_core::BatchError>(())
//! ```
//!
//! # A model of your own
//!
//! Derive burn's `Module`, implement [`LanguageModel`], and it is a [`CausalLm`]: it can be
//! trained, taught from and measured.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::{Embedding, EmbeddingConfig};
//! use burn::tensor::Device;
//! use distily_core::{ForwardError, Head, LanguageModel, ModelShape, Outputs, Taps, TokenBatch};
//!
//! /// A bigram model: the next token depends on the present one alone.
//! #[derive(Module, Debug)]
//! struct Bigram {
//!     embedding: Embedding,
//!     head: Embedding,
//! }
//!
//! impl LanguageModel for Bigram {
//!     fn shape(&self) -> ModelShape {
//!         let [vocabulary, width] = self.embedding.weight.dims();
//!         ModelShape { vocabulary, width, ..ModelShape::default() }
//!     }
//!     fn device(&self) -> Device {
//!         self.embedding.weight.device()
//!     }
//!     fn head(&self) -> Head {
//!         Head::by_vocabulary(self.head.weight.val())
//!     }
//!     fn forward(&self, batch: &TokenBatch, taps: &Taps) -> Result<Outputs, ForwardError> {
//!         self.shape().check(batch, taps)?;
//!         let hidden = self.embedding.forward(batch.ids(&self.device()));
//!         Ok(Outputs::new(hidden, &self.head(), taps))
//!     }
//! }
//!
//! let device = Device::flex();
//! let model = Bigram {
//!     embedding: EmbeddingConfig::new(32, 8).init(&device),
//!     head: EmbeddingConfig::new(32, 8).init(&device),
//! };
//! let batch = TokenBatch::new(vec![1, 2, 3, 4], [1, 4])?;
//! let outputs = model.forward(&batch, &Taps::logits())?;
//! assert_eq!(outputs.logits.unwrap().dims(), [1, 4, 32]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod head;
mod model;
mod objective;
mod outputs;
mod seed;
mod shape;
mod taps;
mod teacher;
mod whole_file;

pub use batch::{BatchError, TokenBatch};
pub use distily_kernels::{Segments, ValueAndGradient, in_format_of};
pub use head::{Head, HeadLayout};
pub use model::{Cache, CachedLayer, CausalLm, ForwardError, LanguageModel};
pub use objective::{
    Comparison, LossTerms, NamedLoss, Objective, ObjectiveError, ObjectivePart, OutputLoss,
    OutputTokens, TeacherTokens, Term,
};
pub use outputs::{Features, LayerFeatures, Outputs};
pub use seed::Seed;
pub use shape::ModelShape;
pub use taps::{Feature, Taps};
pub use teacher::{Answer, Distribution, LiveTeacher, Teacher};
pub use whole_file::write_whole;
