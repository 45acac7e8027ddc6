//! Gradients by central finite differences and by autograd, in f64.

use crate::golden::error;
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use distily_core::Seed;
use rand::Rng;

/// Noise in [-1, 1), in f32.
pub(crate) fn noise<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut generator = Seed(seed).generator("gradient check", 0);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| (generator.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::default())
}

/// In f64, on the autodiff device.
pub(crate) fn constant<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(x.cast(FloatDType::F64))
}

/// A leaf of a graph.
pub(crate) fn leaf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(x).require_grad()
}

pub(crate) fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// The gradient of a function at an f32 point by central finite differences and by autograd, in f64.
/// The function is given the point itself, too, for what no gradient flows through.
pub(crate) fn references<const D: usize>(
    function: &dyn Fn(Tensor<D>, &Tensor<D>) -> Tensor<1>,
    at: &Tensor<D>,
) -> [Vec<f64>; 2] {
    const STEP: f64 = 1e-5;
    let at = constant(at.clone());
    let values: Vec<f64> = at.to_data().iter::<f64>().collect();
    let moved = |index: usize, by: f64| {
        let mut values = values.clone();
        values[index] += by;
        let data = TensorData::new(values, at.shape());
        let x = Tensor::from_data(data, (&Device::default(), DType::F64));
        function(Tensor::from_inner(x), &at).into_scalar::<f64>()
    };
    let differences = (0..values.len())
        .map(|index| (moved(index, STEP) - moved(index, -STEP)) / (2.0 * STEP))
        .collect();
    let x = at.clone().require_grad();
    let gradient = x.grad(&function(x.clone(), &at).backward()).unwrap();
    [differences, numbers(gradient)]
}

/// How far a gradient is from both references.
pub(crate) fn cell(ours: &[f64], references: [Vec<f64>; 2]) -> String {
    let [differences, autograd] = references.map(|reference| error(ours, &reference));
    format!("{differences:.0e} / {autograd:.0e}")
}
