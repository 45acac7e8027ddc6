//! Every kernel with inputs that are drawn from a seed.

mod attention;
mod losses;
mod optimizers;
mod rows;

use burn::tensor::{Device, FloatDType, Gradients, Tensor, TensorData};

pub(crate) use attention::attention;
pub(crate) use losses::{Logits, losses, losses_with_jumps};
pub(crate) use optimizers::optimizers;
pub(crate) use rows::rows;

/// A kernel and its inputs.
pub(crate) struct Case {
    pub(crate) name: String,
    /// Its value and the gradients of its inputs, computed in a number format: f32 goes to the native
    /// form and f64 to the composition.
    pub(crate) run: Box<dyn Fn(FloatDType) -> Vec<TensorData> + Send + Sync>,
    /// How large the terms are that each result is the sum of. Where they cancel, nothing but their
    /// rounding is left.
    pub(crate) terms: Vec<f64>,
}

/// Pseudo-random numbers in [-`scale`, `scale`), from a seed alone.
pub(crate) fn numbers<const D: usize>(shape: [usize; D], seed: u64, scale: f32) -> Tensor<D> {
    let mut state = seed;
    let next = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        scale * (((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
    };
    let values = std::iter::repeat_with(next).take(shape.iter().product());
    Tensor::from_data(TensorData::new(values.collect(), shape), &Device::flex())
}

/// These numbers in a format, in a graph.
fn leaf<const D: usize>(x: &Tensor<D>, format: FloatDType) -> Tensor<D> {
    x.clone().cast(format).autodiff().require_grad()
}

/// The gradients of Σ output · upstream.
fn pulled_back<const D: usize>(output: &Tensor<D>, upstream: &Tensor<D>) -> Gradients {
    let upstream = upstream.clone().cast(FloatDType::from(output.dtype()));
    (output.clone() * upstream.autodiff()).sum().backward()
}

fn gradient<const D: usize>(of: &Tensor<D>, gradients: &Gradients) -> TensorData {
    of.grad(gradients).unwrap().into_data()
}
