use crate::in_format_of;
use burn::tensor::Tensor;

/// Root-mean-square norm over the last axis: x / sqrt(mean(x²) + epsilon) · weight (Zhang and
/// Sennrich, 1910.07467).
///
/// Shapes: `x` `[.., width]`, `weight` `[width]`; the result is as `x`.
///
/// # Panics
///
/// If `weight` is not as wide as the last axis of `x`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, epsilon: f64) -> Tensor<D> {
    assert_eq!(x.dims()[D - 1], weight.dims()[0], "the widths differ");
    let weight = in_format_of(weight, &x);
    #[cfg(feature = "flex")]
    if crate::native::serves(&x) {
        return crate::native::rms_norm(x, weight, epsilon);
    }
    composed(x, weight, epsilon)
}

fn composed<const D: usize>(x: Tensor<D>, weight: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let scale = x
        .clone()
        .square()
        .mean_dim(D - 1)
        .add_scalar(epsilon)
        .sqrt();
    x / scale * weight.unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, leaf};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_agree(
            rows in 1usize..80, width in 4usize..70, seed in any::<u64>(), scale in 0.01f32..100.0,
        ) {
            let x = leaf([rows, width], seed, scale);
            let weight = leaf([1, width], seed ^ 1, 1.0);
            let mix = leaf([rows, width], seed ^ 2, 1.0).detach();
            let results = [rms_norm, composed].map(|form| {
                let out = form(x.clone(), weight.clone().squeeze_dim(0), 1e-5);
                let gradients = (out.clone() * mix.clone()).sum().backward();
                (out, x.grad(&gradients).unwrap(), weight.grad(&gradients).unwrap())
            });
            let [native, composed] = results;
            assert_close(native.0.into_data(), composed.0.into_data(), 1.0);
            assert_close(native.1.into_data(), composed.1.into_data(), 1.0 / scale);
            assert_close(native.2.into_data(), composed.2.into_data(), 1.0);
        }
    }
}
