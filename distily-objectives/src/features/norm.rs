use burn::tensor::Tensor;
use distily_kernels::widened;

/// A teacher's features at mean 0 and variance 1 in each token, along the last axis: a layer norm
/// without a trainable parameter. (A trainable norm of the teacher would let the loss fall to 0 by
/// making all tokens alike.)
///
/// The result is f32 where the features are in half precision, and outside any graph.
pub fn layer_normalized<const D: usize>(teacher: Tensor<D>, epsilon: f64) -> Tensor<D> {
    let teacher = widened(teacher.without_autodiff());
    let width = [teacher.dims()[D - 1]];
    let weight = Tensor::ones(width, &teacher.device());
    let bias = Tensor::zeros(width, &teacher.device());
    distily_kernels::layer_norm(teacher, weight, bias, epsilon)
}

/// A teacher's features at mean square 1 in each token, along the last axis: an RMS norm without a
/// trainable parameter (see [`layer_normalized`]).
///
/// The result is f32 where the features are in half precision, and outside any graph.
pub fn rms_normalized<const D: usize>(teacher: Tensor<D>, epsilon: f64) -> Tensor<D> {
    let teacher = widened(teacher.without_autodiff());
    let weight = Tensor::ones([teacher.dims()[D - 1]], &teacher.device());
    distily_kernels::rms_norm(teacher, weight, epsilon)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{largest, random};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_token_has_unit_scale(seed in any::<u64>(), scale in 1f32..1000.0) {
            let x = Tensor::from_inner(random([2, 3, 16], seed) * scale + 5.0).require_grad();
            let (layer, rms) = (layer_normalized(x.clone(), 1e-6), rms_normalized(x, 1e-6));
            prop_assert!(!layer.is_autodiff() && !rms.is_autodiff());
            prop_assert!(largest(layer.clone().mean_dim(2)) < 1e-4);
            for normalized in [layer, rms] {
                prop_assert!(largest(normalized.square().mean_dim(2) - 1.0) < 1e-3);
            }
        }
    }
}
