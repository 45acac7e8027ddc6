use crate::sparse::Sparse;
use burn::tensor::Tensor;

/// Forward KL to a teacher's `k` likeliest ids at each token, with all others as one event:
/// Σ weight · T² · (Σ_top p log(p/q) + p_rest log(p_rest / q_rest)), where p and q are the softmax of
/// the teacher's and the student's logits over the temperature T. It is a true KL, not negative and
/// at most the full one, that does not ask how the teacher's tail is shared out.
///
/// Shapes: both logits `[tokens, vocabulary]`, `weights` `[tokens]` (see
/// [`mean_over`](crate::mean_over)); the result is `[1]`. A `k` of 0 is 1, and one of more than
/// the vocabulary is all of it. The gradient is taken in closed form with the value; the teacher gets none.
///
/// # Panics
///
/// If the shapes differ.
pub fn top_k_kl(
    student: Tensor<2>,
    teacher: Tensor<2>,
    k: usize,
    weights: Tensor<1>,
    temperature: f64,
) -> Tensor<1> {
    assert_eq!(student.dims(), teacher.dims(), "the logits' shapes differ");
    Sparse::top_k(teacher, k, temperature)
        .kl(student.clone(), weights)
        .attached_to(student)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::divergence;
    use crate::features::testing::{Law, laws, random};
    use crate::testing::Scene;
    use crate::{SoftLoss, SoftTerm};
    use burn::tensor::Device;
    use distily_core::Term;
    use distily_kernels::Divergence;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_the_laws(
            seed in any::<u64>(), tokens in 1usize..6, vocabulary in 2usize..9, k in 1usize..12,
            temperature in 0.5f64..3.0,
        ) {
            let kl = |s, t, w| top_k_kl(s, t, k, w, temperature);
            laws(&kl, [tokens, vocabulary], seed, &Law::ALL);
        }

        /// More ids say more, and all of them all.
        #[test]
        fn it_grows_to_the_full_kl(seed in any::<u64>(), scale in 0.1f64..9.0) {
            let logits = |seed| random::<2>([3, 12], seed).mul_scalar(scale);
            let (student, teacher) = (logits(seed), logits(seed ^ 1));
            let weights = crate::mean_over(&[true; 3], &student.device());
            let of = |k| top_k_kl(student.clone(), teacher.clone(), k, weights.clone(), 1.5)
                .into_scalar::<f32>();
            let values: Vec<f32> = (1..=12).map(of).collect();
            let full = divergence(Divergence::ForwardKl, student.clone(), teacher.clone(), weights.clone(), 1.5)
                .into_scalar::<f32>();
            let exact = 1e-5 * (1.0 + full);
            prop_assert!(values.windows(2).all(|pair| pair[1] >= pair[0] - exact), "{values:?}");
            prop_assert!((values[11] - full).abs() < exact, "{values:?} {full}");
        }
    }

    #[test]
    fn it_is_the_value_of_the_formula() {
        let device = Device::default();
        let row = |p: [f32; 4]| Tensor::<2>::from_data([p], &device).log();
        let (q, p) = (row([0.03, 0.6, 0.35, 0.02]), row([0.1, 0.5, 0.3, 0.1]));
        let weights = crate::mean_over(&[true], &device);
        // .5 ln(.5/.6) + .3 ln(.3/.35) + .2 ln(.2/.05).
        let kl = top_k_kl(q, p, 2, weights, 1.0).into_scalar::<f32>();
        assert!((kl - 0.1399).abs() < 1e-4, "{kl}");
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let device = Device::default().autodiff();
        let infinite = f32::NEG_INFINITY;
        let student = Tensor::<2>::from_data([[1e4, -1e4, 0.0, infinite]], &device).require_grad();
        let teacher = Tensor::<2>::from_data([[-1e4, infinite, 1e4, 3.0]], &device);
        let weights = crate::mean_over(&[true], &device);
        let loss = top_k_kl(student.clone(), teacher, 2, weights, 1.0);
        assert_eq!(loss.clone().into_scalar::<f32>(), 1e4);
        let gradient = student.grad(&loss.backward()).unwrap().into_data();
        assert_eq!(gradient.try_to_vec::<f32>().unwrap(), [1.0, 0.0, -1.0, 0.0]);
    }

    #[test]
    fn two_vocabularies_are_refused() {
        let term = SoftTerm {
            name: "top_k_kl".to_owned(),
            weight: 1.0.into(),
            temperature: 1.0,
            temperature_squared: true,
            loss: SoftLoss::TopKKl { k: 3 },
        };
        let error = term
            .value(&Scene::new([1100, 20], 4).comparison(0))
            .unwrap_err();
        assert!(error.to_string().contains("vocabulary of 1100"), "{error}");
    }

    #[test]
    fn as_a_term_it_is_the_same() {
        let scene = Scene::new([11, 11], 4);
        for temperature_squared in [true, false] {
            let term = SoftTerm {
                name: "top_k_kl".to_owned(),
                weight: 1.0.into(),
                temperature: 2.0,
                temperature_squared,
                loss: SoftLoss::TopKKl { k: 3 },
            };
            let value = term
                .value(&scene.comparison(0))
                .unwrap()
                .into_scalar::<f32>();
            let (student, teacher, weights) = scene.logits();
            let expected = top_k_kl(student, teacher, 3, weights, 2.0).into_scalar::<f32>();
            let expected = if temperature_squared {
                expected
            } else {
                expected / 4.0
            };
            assert!((value - expected).abs() < 1e-5, "{value} {expected}");
        }
    }
}
