use crate::{ValueAndGradient, in_format_of};
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

/// Forward KL between next-token distributions: Σ_tokens weight · T² · KL(p ‖ q), where p and q
/// are the softmax of the teacher's and the student's logits over the temperature T, and its
/// gradient with respect to the student's logits, weight · T · (q - p) (Hinton et al., 1503.02531).
///
/// Shapes: `student` and `teacher` `[tokens, vocabulary]`, `weights` `[tokens]`. A token of weight
/// 0 contributes nothing, whatever its logits are. A teacher's logit of -inf is a probability of 0.
/// f32 on a CPU takes the native form; everything is computed in the student's type.
///
/// # Panics
///
/// If the shapes differ.
pub fn forward_kl(
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
) -> ValueAndGradient {
    assert_eq!(student.dims(), teacher.dims(), "the logits' shapes differ");
    assert_eq!(weights.dims()[0], student.dims()[0], "one weight a token");
    let student = student.without_autodiff();
    let teacher = in_format_of(teacher.without_autodiff(), &student);
    let weights = in_format_of(weights.without_autodiff(), &student);
    #[cfg(feature = "flex")]
    if crate::native::serves(&student) {
        return crate::native::forward_kl(student, teacher, weights, temperature);
    }
    composed(student, teacher, weights, temperature)
}

fn composed(
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
) -> ValueAndGradient {
    let masked = weights.clone().equal_scalar(0.0);
    let weights = weights.unsqueeze_dim::<2>(1);
    let log_q = log_softmax(student.div_scalar(temperature), 1);
    let log_p = log_softmax(teacher.div_scalar(temperature), 1);
    let p = log_p.clone().exp();
    let difference = log_p - log_q.clone();
    // 0 · (-inf - x) counts as 0.
    let terms = (p.clone() * difference).mask_fill(p.clone().equal_scalar(0.0), 0.0);
    let rows = terms.sum_dim(1) * weights.clone().mul_scalar(temperature * temperature);
    let gradient = (log_q.exp() - p) * weights.mul_scalar(temperature);
    let masked = masked.unsqueeze_dim::<2>(1);
    ValueAndGradient {
        value: rows.mask_fill(masked.clone(), 0.0).sum(),
        gradient: gradient
            .clone()
            .mask_fill(masked.expand(gradient.shape()), 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_within, logits, weights};
    use burn::tensor::Device;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_agree(
            tokens in 1usize..6, vocabulary in 1usize..70, seed in any::<u64>(),
            scale in 0.1f32..50.0, temperature in 0.5f64..4.0,
        ) {
            let student = logits([tokens, vocabulary], seed, scale);
            let teacher = logits([tokens, vocabulary], seed ^ 1, scale);
            let weights = weights(tokens, seed);
            let total = weights.clone().sum().into_scalar::<f32>();
            let native = forward_kl(student.clone(), teacher.clone(), weights.clone(), temperature);
            let composed = composed(student, teacher, weights, temperature);
            // Logits over the temperature are exact to their last place, and so is the exponent of
            // a probability, whose error the factors T and T squared enlarge.
            let t = temperature as f32;
            let exact = 1e-6 * (1.0 + scale / t);
            assert_within(native.value.into_data(), composed.value.into_data(), exact * t * t * (1.0 + total));
            assert_within(native.gradient.into_data(), composed.gradient.into_data(), exact * t);
        }
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let device = Device::flex();
        let student = Tensor::<2>::from_data([[1e4, -1e4, 0.0]], &device);
        let teacher = Tensor::<2>::from_data([[-1e4, f32::NEG_INFINITY, 1e4]], &device);
        let weights = Tensor::<1>::from_data([1.0], &device);
        for form in [forward_kl, composed] {
            let result = form(student.clone(), teacher.clone(), weights.clone(), 1.0);
            assert_eq!(result.value.into_scalar::<f32>(), 1e4);
            let gradient = result.gradient.into_data().try_to_vec::<f32>().unwrap();
            assert_eq!(gradient, [1.0, 0.0, -1.0]);
        }
    }

    #[test]
    fn a_token_of_weight_zero_contributes_nothing() {
        let device = Device::flex();
        let student = Tensor::<2>::from_data([[f32::NAN, 1.0], [1.0, 2.0]], &device);
        let teacher = Tensor::<2>::from_data([[f32::NAN, 1.0], [1.0, 2.0]], &device);
        let weights = Tensor::<1>::from_data([0.0, 1.0], &device);
        for form in [forward_kl, composed] {
            let result = form(student.clone(), teacher.clone(), weights.clone(), 1.0);
            assert_eq!(result.value.into_scalar::<f32>(), 0.0);
            let gradient = result.gradient.into_data().try_to_vec::<f32>().unwrap();
            assert_eq!(gradient, [0.0; 4]);
        }
    }
}
