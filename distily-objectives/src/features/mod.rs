//! Losses on features: hidden states, queries, keys and values, attention maps.
//!
//! Each is a function over plain tensors, composed of burn operations; half-precision features are
//! widened to f32 first, and the teacher gets no gradient.

mod cosine;
mod hidden_mse;
mod logsum;
mod rows;
#[cfg(test)]
mod testing;

pub use cosine::cosine;
pub use hidden_mse::hidden_mse;
pub use logsum::logsum;
