//! Fused tensor operations with their own gradients.
//!
//! Each operation is a plain function over burn tensors, for any device. Tensors on burn's CPU
//! backend (with this crate's feature `flex`) go to native code that uses every core and has a
//! backward pass of its own; every other device gets the same mathematics composed of burn
//! operations. Tests hold both forms, and their gradients, together: a kernel is within 1e-5 of its
//! composition in f64, finite at extreme inputs, and the same bits on any number of threads.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use distily_kernels::silu_gate;
//!
//! let device = Device::flex().autodiff();
//! let gate = Tensor::<2>::from_data([[0.5, -1.0]], &device).require_grad();
//! let up = Tensor::<2>::from_data([[2.0, 3.0]], &device);
//! let hidden = silu_gate(gate.clone(), up); // gate · sigmoid(gate) · up
//! assert!((hidden.clone().slice([0..1, 0..1]).into_scalar::<f32>() - 0.6225).abs() < 1e-4);
//! assert!(gate.grad(&hidden.sum().backward()).is_some());
//! ```
//!
//! The unsafe code of Distily is all here; see `native`.

mod adamw;
mod add_product;
mod attach_gradient;
mod attention;
mod choose_ids;
mod cross_entropy;
mod divergence;
mod embedding;
mod format;
mod gelu;
mod layer_norm;
mod linear;
mod lion;
mod on_pool;
mod pairwise_l1;
mod recomputed;
mod rms_norm;
mod rotary;
mod segments;
mod silu_gate;
mod sparse_kl;
mod sum_of_squares;
#[cfg(test)]
mod testing;
#[cfg(feature = "allocator")]
mod training_allocator;
mod uld;
mod value_and_gradient;

#[cfg(feature = "flex")]
mod native;

pub use adamw::{AdamWStep, adamw};
pub use add_product::add_product;
pub use attach_gradient::attach_gradient;
pub use attention::{attention_weights, causal_attention, weighted_values};
pub use choose_ids::{drawn_ids, likeliest_ids, probabilities_of};
pub use cross_entropy::cross_entropy;
pub use divergence::{Divergence, divergence};
pub use embedding::embedding;
pub use format::{in_format_of, widened};
pub use gelu::gelu_tanh;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use lion::{LionStep, lion};
pub use on_pool::on_pool;
pub use pairwise_l1::{pairwise_l1, pairwise_l1_gradient};
pub use recomputed::recomputed;
pub use rms_norm::rms_norm;
pub use rotary::rotary;
pub use segments::Segments;
pub use silu_gate::silu_gate;
pub use sparse_kl::sparse_kl;
pub use sum_of_squares::sum_of_squares;
#[cfg(feature = "allocator")]
pub use training_allocator::TrainingAllocator;
pub use uld::uld;
pub use value_and_gradient::ValueAndGradient;
