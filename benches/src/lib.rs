//! What the measurements share: seeded tensors, so that two runs measure the same numbers, training
//! steps in a process of their own, how their cost grows, and what is said of the machine.
//!
//! ```
//! let device = burn::tensor::Device::flex();
//! let first = distily_benches::tensor([2, 3], &device).into_data();
//! assert_eq!(first, distily_benches::tensor([2, 3], &device).into_data());
//! ```

mod growth;
mod held_out;
mod memory;
mod processor;
mod training;

use burn::tensor::{Device, Tensor, TensorData};
use distily::core::Seed;

pub use growth::{exponent, slope};
pub use held_out::held_out_value;
pub use memory::{forget_peak, memory};
pub use processor::processor;
pub use training::{Cost, Recomputed, Training};

/// A tensor of numbers in [-1, 1).
pub fn tensor<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    use std::iter::repeat_with;
    let mut generator = Seed(1).generator("bench", 0);
    let count = shape.iter().product();
    let next = || {
        let bits = rand::Rng::next_u32(&mut generator) >> 8;
        bits as f32 / (1u32 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = repeat_with(next).take(count).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
