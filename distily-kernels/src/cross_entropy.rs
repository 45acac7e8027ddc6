use crate::{ValueAndGradient, in_format_of, widened};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// Cross entropy with hard targets: Σ_tokens weight · -log q(target), where q is the softmax of the
/// logits, and its gradient with respect to them, weight · (q - one_hot(target)).
///
/// Shapes: `logits` `[tokens, vocabulary]`; `targets` `[tokens]`, ids below the vocabulary;
/// `weights` `[tokens]`. A token of weight 0 contributes nothing, whatever its logits are.
///
/// # Panics
///
/// If a target of weight other than 0 is not in the vocabulary, or the shapes differ.
pub fn cross_entropy(
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    weights: Tensor<1>,
) -> ValueAndGradient {
    let [tokens, _] = logits.dims();
    assert_eq!(targets.dims()[0], tokens, "one target a token");
    assert_eq!(weights.dims()[0], tokens, "one weight a token");
    let logits = widened(logits.without_autodiff());
    let weights = in_format_of(weights.without_autodiff(), &logits);
    #[cfg(feature = "flex")]
    if crate::native::serves(&logits) {
        return crate::native::cross_entropy(logits, targets, weights);
    }
    composed(logits, targets, weights)
}

fn composed(logits: Tensor<2>, targets: Tensor<1, Int>, weights: Tensor<1>) -> ValueAndGradient {
    let device = logits.device();
    let [tokens, vocabulary] = logits.dims();
    let masked = weights.clone().equal_scalar(0.0).unsqueeze_dim::<2>(1);
    let weights = weights.unsqueeze_dim::<2>(1);
    let targets = targets.unsqueeze_dim::<2>(1);
    let log_q = log_softmax(logits, 1);
    let value = (log_q.clone().gather(1, targets.clone()).neg() * weights.clone())
        .mask_fill(masked.clone(), 0.0)
        .sum();
    let columns = Tensor::arange(0..vocabulary as i64, &device).unsqueeze_dim::<2>(0);
    let one_hot = columns
        .expand([tokens, vocabulary])
        .equal(targets.expand([tokens, vocabulary]));
    let one_hot = in_format_of(one_hot.float(), &log_q);
    let gradient = (log_q.exp() - one_hot) * weights;
    ValueAndGradient {
        value,
        gradient: gradient.mask_fill(masked.expand([tokens, vocabulary]), 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, logits, weights};
    use burn::tensor::TensorData;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_agree(
            tokens in 1usize..6, vocabulary in 1usize..70, seed in any::<u64>(), scale in 0.1f32..50.0,
        ) {
            let logits = logits([tokens, vocabulary], seed, scale);
            let weights = weights(tokens, seed);
            let targets: Vec<i32> = (0..tokens)
                .map(|t| (seed.wrapping_add(t as u64 * 7919) % vocabulary as u64) as i32)
                .collect();
            let targets =
                Tensor::<1, Int>::from_data(TensorData::new(targets, [tokens]), &logits.device());
            let native = cross_entropy(logits.clone(), targets.clone(), weights.clone());
            let composed = composed(logits, targets, weights);
            assert_close(native.value.into_data(), composed.value.into_data(), 1.0);
            assert_close(native.gradient.into_data(), composed.gradient.into_data(), 1.0);
        }
    }
}
