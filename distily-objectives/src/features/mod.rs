//! Losses on features: hidden states, queries, keys and values, attention maps.
//!
//! Each is a function over plain tensors, composed of burn operations; half-precision features are
//! widened to f32 first, and the teacher gets no gradient.

mod cka;
mod cosine;
mod dist;
mod hidden_mse;
mod info_nce;
mod logsum;
mod rows;
#[cfg(test)]
mod testing;

pub use cka::cka;
pub use cosine::cosine;
pub use dist::dist;
pub use hidden_mse::hidden_mse;
pub use info_nce::info_nce;
pub use logsum::logsum;
