use crate::in_format_of;
use burn::tensor::Tensor;

/// Layer norm over the last axis: (x - mean(x)) / sqrt(variance(x) + epsilon) · weight + bias (Ba et
/// al., 1607.06450), with the variance of the population.
///
/// Shapes: `x` `[.., width]`, `weight` and `bias` `[width]`; the result is as `x`.
///
/// # Panics
///
/// If `weight` or `bias` is not as wide as the last axis of `x`.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    let width = x.dims()[D - 1];
    assert_eq!(width, weight.dims()[0], "the width of the weight differs");
    assert_eq!(width, bias.dims()[0], "the width of the bias differs");
    let (weight, bias) = (in_format_of(weight, &x), in_format_of(bias, &x));
    #[cfg(feature = "flex")]
    if crate::native::serves(&x) {
        return crate::native::layer_norm(x, weight, bias, epsilon);
    }
    composed(x, weight, bias, epsilon)
}

fn composed<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    let centred = x.clone() - x.mean_dim(D - 1);
    let deviation = centred
        .clone()
        .square()
        .mean_dim(D - 1)
        .add_scalar(epsilon)
        .sqrt();
    centred / deviation * weight.unsqueeze() + bias.unsqueeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, leaf};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_agree(
            rows in 1usize..80, width in 4usize..70, seed in any::<u64>(), scale in 0.1f32..100.0,
        ) {
            let x = leaf([rows, width], seed, scale);
            let weight = leaf([1, width], seed ^ 1, 1.0);
            let bias = leaf([1, width], seed ^ 3, 1.0);
            let mix = leaf([rows, width], seed ^ 2, 1.0).detach();
            let results = [layer_norm, composed].map(|form| {
                let (weight_row, bias_row) = (weight.clone(), bias.clone());
                let out = form(x.clone(), weight_row.squeeze_dim(0), bias_row.squeeze_dim(0), 1e-5);
                let gradients = (out.clone() * mix.clone()).sum().backward();
                let gradient = |of: &Tensor<2>| of.grad(&gradients).unwrap();
                (out, gradient(&x), gradient(&weight), gradient(&bias))
            });
            let [native, composed] = results;
            assert_close(native.0.into_data(), composed.0.into_data(), 1.0);
            assert_close(native.1.into_data(), composed.1.into_data(), 1.0 / scale);
            assert_close(native.2.into_data(), composed.2.into_data(), 1.0);
            assert_close(native.3.into_data(), composed.3.into_data(), 1.0);
        }
    }
}
