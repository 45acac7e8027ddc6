//! Ternary weights: BitNet b1.58's quantiser for any burn tensor.
//!
//! A weight matrix becomes a matrix of -1, 0 and 1 and one scale, the mean magnitude (Ma et al.,
//! 2402.17764). [`ternary`] is that quantiser, with the gradient of a straight-through estimator, so
//! that a model can be trained through it.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use distily_quant::ternary;
//!
//! let weight = Tensor::<2>::from_data([[0.9, -0.1], [-0.8, 0.2]], &Device::flex());
//! let quantised = ternary(weight); // scale 0.5: [[1, 0], [-1, 0]] times it
//! assert_eq!(quantised.into_data().try_to_vec::<f32>()?, [0.5, 0.0, -0.5, 0.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ternary;

pub use ternary::ternary;
