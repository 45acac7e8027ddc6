//! Distils language models: trains a smaller or differently shaped student to reproduce a large
//! teacher, and measures what was lost.
//!
//! This crate holds the [`Trainer`] and puts every Distily crate under one name ([`models`],
//! [`objectives`], ...). Each of them works alone, too.
//!
//! ```
//! use burn::tensor::Device;
//! use distily::core::{LanguageModel, LiveTeacher, Seed, TokenBatch};
//! use distily::models::{Decoder, DecoderConfig, Inheritance, StudentConfig};
//! use distily::objectives::ObjectiveConfig;
//! use distily::{Trainer, TrainingConfig};
//! use std::sync::Arc;
//!
//! let device = Device::flex();
//! let config = DecoderConfig { vocabulary: 50, width: 16, layers: 4, heads: 2, kv_heads: 1,
//!     head_width: 8, feed_forward_width: 32, ..DecoderConfig::default() };
//! let teacher = Decoder::random(&config, Seed(1), &device)?; // or Decoder::load(folder, ..)
//!
//! let half = StudentConfig { layers: Some(2), ..StudentConfig::default() }.of(&config)?;
//! let inheritance = Inheritance::with_blocks([1, 3]);
//! let student = Decoder::student(&half, &teacher, &inheritance, Seed(2), &device.clone().autodiff())?;
//!
//! let training = TrainingConfig { steps: 2, ..TrainingConfig::default() };
//! let objective = ObjectiveConfig::default()
//!     .build(&student.shape(), &teacher.shape(), Seed(1), &student.device())?;
//! let mut trainer = Trainer::new(student, Arc::new(LiveTeacher::new(teacher)), objective, training)?;
//! let batch = TokenBatch::new(vec![1, 2, 3, 4, 5, 6, 7, 8], [2, 4])?;
//! let before = trainer.step(&[batch.clone()])?.loss;
//! assert!(trainer.step(&[batch])?.loss < before);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clip;
mod config;
mod error;
mod optimizer;
mod pass;
mod schedule;
mod trainer;

pub use config::{OptimizerConfig, TrainingConfig};
pub use distily_core as core;
pub use distily_data as data;
pub use distily_eval as eval;
pub use distily_hub as hub;
pub use distily_kernels as kernels;
pub use distily_layermap as layermap;
pub use distily_models as models;
pub use distily_objectives as objectives;
pub use distily_quant as quant;
pub use error::TrainError;
pub use schedule::Schedule;
pub use trainer::{StepReport, Trainee, Trainer};
