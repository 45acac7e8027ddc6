//! What the tests of both forms share.

use burn::tensor::{Device, Tensor, TensorData};

/// Pseudo-random numbers in [-1, 1), from a seed alone.
pub(crate) fn noise(count: usize, mut state: u64) -> Vec<f32> {
    (0..count)
        .map(|_| {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn tensor<const D: usize>(shape: [usize; D], seed: u64, scale: f32, device: &Device) -> Tensor<D> {
    let values = noise(shape.iter().product(), seed);
    let values: Vec<f32> = values.into_iter().map(|value| value * scale).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

pub(crate) fn logits(shape: [usize; 2], seed: u64, scale: f32) -> Tensor<2> {
    tensor(shape, seed, scale, &Device::flex())
}

/// Weights of which about a third is 0.
pub(crate) fn weights(tokens: usize, seed: u64) -> Tensor<1> {
    tensor([tokens], seed ^ 7, 1.0, &Device::flex())
        .add_scalar(0.3)
        .clamp_min(0.0)
}

/// A tensor of which the gradient is asked.
pub(crate) fn leaf<const D: usize>(shape: [usize; D], seed: u64, scale: f32) -> Tensor<D> {
    tensor(shape, seed, scale, &Device::flex().autodiff()).require_grad()
}

/// Equal within 1e-5 of the largest magnitude, or of the `terms` that were added up to it: where they
/// cancel, nothing but their rounding is left.
pub(crate) fn assert_close(a: TensorData, b: TensorData, terms: f32) {
    let largest = b
        .iter::<f32>()
        .fold(terms, |largest, x| largest.max(x.abs()));
    assert_within(a, b, 1e-5 * largest);
}

/// Equal within an absolute tolerance.
pub(crate) fn assert_within(a: TensorData, b: TensorData, tolerance: f32) {
    assert_eq!(a.shape(), b.shape());
    for (at, (a, b)) in a.iter::<f32>().zip(b.iter::<f32>()).enumerate() {
        assert!(
            (a - b).abs() <= tolerance,
            "element {at}: {a} and {b} differ by more than {tolerance}"
        );
    }
}
