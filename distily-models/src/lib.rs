//! Decoder language models for burn, with Hugging Face weights in and out.
//!
//! One [`Decoder`], configured rather than copied. It reads and writes Hugging Face folders
//! (`config.json`, `model.safetensors` or a sharded index), reveals whatever is tapped, and is a
//! `distily_core::CausalLm`.
//!
//! ```
//! use burn::tensor::Device;
//! use distily_core::{Feature, LanguageModel, Seed, Taps, TokenBatch};
//! use distily_models::{Decoder, DecoderConfig, StoredAs};
//!
//! // A student of any shape, from a config; `Decoder::load` reads one from a folder.
//! let config = DecoderConfig { layers: 2, width: 32, heads: 4, kv_heads: 2, head_width: 8,
//!     feed_forward_width: 64, vocabulary: 100, ..DecoderConfig::default() };
//! let device = Device::flex();
//! let model = Decoder::random(&config, Seed(1), &device)?;
//!
//! let batch = TokenBatch::new(vec![1, 2, 3, 4], [1, 4])?;
//! let outputs = model.forward(&batch, &Taps::logits().with(1, Feature::Query))?;
//! assert_eq!(outputs.logits.unwrap().dims(), [1, 4, 100]);
//! assert_eq!(outputs.features.heads(1, Feature::Query).unwrap().dims(), [1, 4, 4, 8]);
//!
//! let folder = tempfile::tempdir()?;
//! model.save(folder.path(), StoredAs::BF16)?; // transformers opens it
//! assert_eq!(Decoder::load(folder.path(), &device)?.shape(), model.shape());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod architecture;
mod attention;
mod checkpoint;
mod config;
mod decoder;
mod error;
mod feed_forward;
mod fill;
mod folder;
mod freeze;
mod hugging_face;
mod linear;
mod norm;
mod precision;
mod rope;
mod student;

pub use architecture::Architecture;
pub use attention::SelfAttention;
pub use checkpoint::StoredAs;
pub use config::{Activation, DecoderConfig, SlidingWindow};
pub use decoder::{Block, Decoder};
pub use error::ModelError;
pub use feed_forward::FeedForward;
pub use freeze::freeze;
pub use norm::Norm;
pub use precision::Precision;
pub use rope::{Rope, RopeScaling};
pub use student::{Inheritance, StudentConfig};
