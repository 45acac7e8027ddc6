//! The operations as native code for burn's CPU backend, flex.
//!
//! A forward pass works on plain slices and returns a tensor; [`graph`] puts it into the autodiff
//! graph together with its backward pass. Rows are spread over the cores by rayon in chunks whose
//! size does not depend on the number of threads, and a sum over chunks is taken in order, so that
//! a result is the same bits on any number of threads.

mod add_product;
mod attention;
mod cross_entropy;
mod divergence;
mod embedding;
mod gelu;
mod graph;
mod lanes;
mod layer_norm;
mod matrix;
mod optimizers;
mod over_tokens;
mod pairwise_l1;
mod recomputed;
mod rms_norm;
mod rotary;
mod rows;
mod silu_gate;
mod sparse_kl;
mod sum_of_squares;
mod tensors;
mod uld;
mod unwritten;

pub(crate) use add_product::add_product;
pub(crate) use attention::causal_attention;
pub(crate) use cross_entropy::cross_entropy;
pub(crate) use divergence::divergence;
pub(crate) use embedding::embedding;
pub(crate) use gelu::gelu_tanh;
pub(crate) use graph::attach_gradient;
pub(crate) use layer_norm::layer_norm;
pub(crate) use optimizers::{adamw, lion};
pub(crate) use pairwise_l1::{pairwise_l1, pairwise_l1_gradient};
pub(crate) use recomputed::recomputed;
pub(crate) use rms_norm::rms_norm;
pub(crate) use rotary::rotary;
pub(crate) use silu_gate::silu_gate;
pub(crate) use sparse_kl::sparse_kl;
pub(crate) use sum_of_squares::sum_of_squares;
pub(crate) use tensors::{is_flex, serves};
pub(crate) use uld::uld;
