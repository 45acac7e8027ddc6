use crate::in_format_of;
use burn::tensor::Tensor;

/// `sum` + `lhs`ᵀ · `rhs`, outside any graph: the gradient of a weight, gathered over chunks of
/// tokens. On a CPU it is added in place.
///
/// Shapes: `sum` `[m, n]`, `lhs` `[tokens, m]`, `rhs` `[tokens, n]`, which take on the sum's number
/// format.
///
/// # Panics
///
/// If the shapes do not fit.
pub fn add_product(sum: Tensor<2>, lhs: Tensor<2>, rhs: Tensor<2>) -> Tensor<2> {
    let ([tokens, m], [rhs_tokens, n]) = (lhs.dims(), rhs.dims());
    assert_eq!(tokens, rhs_tokens, "the tokens differ");
    assert_eq!(sum.dims(), [m, n], "the sum does not fit the product");
    let (lhs, rhs) = (in_format_of(lhs, &sum), in_format_of(rhs, &sum));
    #[cfg(feature = "flex")]
    if crate::native::serves(&sum) {
        return crate::native::add_product(sum, lhs, rhs);
    }
    composed(sum, lhs, rhs)
}

fn composed(sum: Tensor<2>, lhs: Tensor<2>, rhs: Tensor<2>) -> Tensor<2> {
    sum + lhs.transpose().matmul(rhs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, logits};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_agree(
            tokens in 1usize..20, m in 1usize..20, n in 1usize..20, seed in any::<u64>(),
        ) {
            let (lhs, rhs) = (logits([tokens, m], seed, 1.0), logits([tokens, n], seed ^ 1, 1.0));
            let sum = logits([m, n], seed ^ 2, 1.0);
            let kept = sum.clone();
            let native = add_product(sum.clone(), lhs.clone(), rhs.clone());
            let composed = composed(sum.clone(), lhs, rhs);
            assert_close(native.into_data(), composed.into_data(), tokens as f32);
            prop_assert_eq!(kept.into_data(), sum.into_data(), "another holder of the sum keeps it");
        }
    }
}
