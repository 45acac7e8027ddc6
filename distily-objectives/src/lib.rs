//! Distillation losses for burn, and their composition.
//!
//! Each loss is first of all a function over plain tensors:
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use distily_objectives::{Divergence, divergence, mean_over};
//!
//! let device = Device::flex().autodiff();
//! // Logits [tokens, vocabulary] of a student, in its graph, and of a teacher.
//! let student = Tensor::<2>::from_data([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]], &device).require_grad();
//! let teacher = Tensor::<2>::from_data([[0.0, 2.0, 2.0], [5.0, 5.0, 5.0]], &device);
//! // The second token does not count.
//! let weights = mean_over(&[true, false], &device);
//! let loss = divergence(Divergence::ForwardKl, student.clone(), teacher, weights, 2.0);
//! let gradient = student.grad(&loss.backward()).unwrap();
//! assert_eq!(gradient.slice([1..2]).sum().into_scalar::<f32>(), 0.0);
//! ```
//!
//! An [`ObjectiveConfig`] composes them for a trainer, and knows what to ask of both models:
//!
//! ```
//! use burn::tensor::Device;
//! use distily_core::{ModelShape, Seed};
//! use distily_objectives::ObjectiveConfig;
//!
//! let config: ObjectiveConfig = toml::from_str(r#"
//!     terms = [
//!         { loss = "forward_kl", weight = 0.9, temperature = 2.0 },
//!         { loss = "cross_entropy", weight = { from = 0.5, to = 0.1, steps = 1000 } },
//!         { loss = "hidden_mse", layers = "uniform", norm = "layer", projector = "linear" },
//!         { loss = { relation_kl = { of = ["value"] } }, layers = "last" },
//!     ]
//! "#)?;
//! let teacher = ModelShape {
//!     vocabulary: 512, width: 96, layers: 6, heads: 6, kv_heads: 2, head_width: 16, ..ModelShape::default()
//! };
//! let student = ModelShape { width: 64, layers: 3, heads: 4, ..teacher.clone() };
//! let objective = config.build(&student, &teacher, Seed(1), &Device::flex().autodiff())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod composite;
mod config;
mod counting;
mod cross_entropy;
mod divergence;
mod feature_term;
mod features;
mod gradients;
mod head_pass;
mod label_confidence;
mod layer_search;
mod output_pass;
mod projected_logits;
mod sampled_kl;
mod schedule;
mod sinkhorn;
mod soft_term;
mod sparse;
#[cfg(test)]
mod testing;
mod top_k_kl;
mod uld;
mod weights;

pub use composite::Composite;
pub use config::{
    LossConfig, NormConfig, ObjectiveConfig, ObjectiveConfigError, Relation, TermConfig,
};
pub use cross_entropy::{CrossEntropy, cross_entropy};
pub use distily_core::{
    Comparison, LossTerms, ModelShape, Objective, ObjectiveError, Seed, Segments, Teacher, Term,
    TokenBatch, ValueAndGradient,
};
pub use distily_kernels::Divergence;
pub use distily_layermap::{LayerMap, LayerMapConfig};
pub use divergence::divergence;
pub use features::{
    EnsembleProjector, LinearProjector, MlpProjector, OrthogonalProjector, Projector,
    ProjectorConfig, ProjectorConfigError, RelationHeadsError, Whitening, WhiteningError,
    attention_kl, attention_mse, check_relation_heads, cka, cosine, dist, hidden_mse, info_nce,
    layer_normalized, logsum, relation_kl, relation_mse, relation_normalized_kl, rms_normalized,
};
pub use gradients::{GradientPolicy, GradientReport, GroupGradient, TermGradient};
pub use head_pass::{default_chunk, through_head};
pub use label_confidence::label_confidence;
pub use layer_search::{FoundLayers, LayerScore, LayerSearch, LayerSearchError};
pub use sampled_kl::sampled_kl;
pub use schedule::{Ramp, RampForm, Weight};
pub use sinkhorn::sinkhorn;
pub use soft_term::{SoftLoss, SoftTerm};
pub use sparse::{random_sample, top_k};
pub use top_k_kl::top_k_kl;
pub use uld::uld;
pub use weights::mean_over;
