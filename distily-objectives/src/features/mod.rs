//! Losses on features: hidden states, queries, keys and values, attention maps.
//!
//! Each is a function over plain tensors, composed of burn operations; half-precision features are
//! widened to f32 first, and the teacher gets no gradient.

mod attention;
pub(crate) mod centring;
pub(crate) mod cholesky;
mod cka;
mod cosine;
mod dist;
mod hidden_mse;
mod info_nce;
mod logsum;
mod maps;
mod norm;
mod projector;
mod relation;
mod rows;
#[cfg(test)]
pub(crate) mod testing;
mod whitening;

pub use attention::{attention_kl, attention_mse};
pub use cka::cka;
pub use cosine::cosine;
pub use dist::dist;
pub use hidden_mse::hidden_mse;
pub use info_nce::info_nce;
pub use logsum::logsum;
pub use norm::{layer_normalized, rms_normalized};
pub use projector::{
    EnsembleProjector, LinearProjector, MlpProjector, OrthogonalProjector, Projector,
    ProjectorConfig, ProjectorConfigError,
};
pub use relation::{
    RelationHeadsError, check_relation_heads, relation_kl, relation_mse, relation_normalized_kl,
};
pub(crate) use whitening::Moments;
pub use whitening::{Whitening, WhiteningError};
