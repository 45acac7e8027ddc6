use burn::tensor::Tensor;
use burn::tensor::activation::gelu_approximate;

/// GELU by its tanh approximation, 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³))) (Hendrycks and
/// Gimpel, 1606.08415, section 2): GPT-2's activation.
///
/// Shapes: `x` `[..]`; so is the result.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if crate::native::serves(&x) {
        return crate::native::gelu_tanh(x);
    }
    composed(x)
}

fn composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    gelu_approximate(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, leaf};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_agree(n in 1usize..200, seed in any::<u64>(), scale in 0.1f32..100.0) {
            let x = leaf([1, n], seed, scale);
            let mix = leaf([1, n], seed ^ 2, 1.0).detach();
            let [native, composed] = [gelu_tanh, composed].map(|form| {
                let out = form(x.clone());
                let gradients = (out.clone() * mix.clone()).sum().backward();
                (out, x.grad(&gradients).unwrap())
            });
            assert_close(native.0.into_data(), composed.0.into_data(), 1.0);
            assert_close(native.1.into_data(), composed.1.into_data(), 1.0);
        }
    }
}
