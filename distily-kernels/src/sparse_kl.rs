use crate::{ValueAndGradient, in_format_of, widened};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// Forward KL to a teacher that is known at some ids alone: Σ_tokens weight · T² · (Σ_ids p log(p/q) +
/// tail · log(tail / q_rest)), where q is the softmax of the student's logits over T and q_rest what
/// it gives to all other ids; and its gradient with respect to the logits.
///
/// With the ids of a top-k and the mass that they leave as `tail` it is a true KL, of the
/// distributions with the tail as one event: not negative, and at most the full KL. With ids that
/// were drawn at random, their frequencies as `probabilities` and a tail of 0, its gradient is an
/// unbiased estimate of the full KL's (random sampling KD, ACL 2025).
///
/// Shapes: `student` `[tokens, vocabulary]`; `ids` and `probabilities` `[tokens, k]`, in which an id
/// comes once, but for entries of probability 0, which fill rows up and count nothing; `tail` and
/// `weights` `[tokens]`.
///
/// # Panics
///
/// If the shapes differ, or an id of probability above 0 is not in the vocabulary.
pub fn sparse_kl(
    student: Tensor<2>,
    ids: Tensor<2, Int>,
    probabilities: Tensor<2>,
    tail: Tensor<1>,
    weights: Tensor<1>,
    temperature: f64,
) -> ValueAndGradient {
    let [tokens, _] = student.dims();
    assert_eq!(ids.dims(), probabilities.dims(), "one probability an id");
    assert_eq!(ids.dims()[0], tokens, "one row of ids a token");
    assert_eq!(tail.dims()[0], tokens, "one tail a token");
    assert_eq!(weights.dims()[0], tokens, "one weight a token");
    let student = widened(student.without_autodiff());
    let p = in_format_of(probabilities.without_autodiff(), &student);
    let tail = in_format_of(tail.without_autodiff(), &student);
    let weights = in_format_of(weights.without_autodiff(), &student);
    #[cfg(feature = "flex")]
    if crate::native::serves(&student) {
        return crate::native::sparse_kl(student, ids, p, tail, weights, temperature);
    }
    composed(student, ids, p, tail, weights, temperature)
}

/// The smallest share of the other ids that is divided by.
pub(crate) const LEAST_REST: f32 = 1e-30;

fn composed(
    student: Tensor<2>,
    ids: Tensor<2, Int>,
    p: Tensor<2>,
    tail: Tensor<1>,
    weights: Tensor<1>,
    temperature: f64,
) -> ValueAndGradient {
    let shape = student.dims();
    let masked = weights.clone().equal_scalar(0.0).unsqueeze_dim::<2>(1);
    let everywhere = masked.clone().expand(shape);
    let weights = weights.unsqueeze_dim::<2>(1);
    let tail = tail.unsqueeze_dim::<2>(1);
    let log_q = log_softmax(student.div_scalar(temperature), 1);
    let q = log_q.clone().exp();
    let nothing = p.clone().equal_scalar(0.0);
    let there = in_format_of(nothing.clone().bool_not().float(), &q);
    let zeros = || q.zeros_like();
    let add = burn::tensor::IndexingUpdateOp::Add;
    let known = zeros().scatter(1, ids.clone(), there, add).clamp_max(1.0);
    let spread = zeros().scatter(1, ids.clone(), p.clone(), add);
    let rest = (q.clone() * known.clone().neg().add_scalar(1.0))
        .sum_dim(1)
        .clamp_min(LEAST_REST);
    let at_ids = (p.clone() * (p.log() - log_q.gather(1, ids))).mask_fill(nothing, 0.0);
    let no_tail = tail.clone().lower_equal_scalar(0.0);
    let of_tail =
        (tail.clone() * (tail.clone().log() - rest.clone().log())).mask_fill(no_tail, 0.0);
    let rows = at_ids.sum_dim(1) + of_tail;
    let others = q.clone() * (tail / rest).neg().add_scalar(1.0);
    let gradient = known.clone() * (q - spread) + known.neg().add_scalar(1.0) * others;
    ValueAndGradient {
        value: (rows * weights.clone().mul_scalar(temperature * temperature))
            .mask_fill(masked, 0.0)
            .sum(),
        gradient: (gradient * weights.mul_scalar(temperature)).mask_fill(everywhere, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_within, logits, weights};
    use crate::{Divergence, divergence};
    use burn::tensor::activation::softmax;
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    /// The likeliest k ids of each row of logits, with a filler, and the mass that they leave.
    fn top_k(logits: Tensor<2>, k: usize) -> (Tensor<2, Int>, Tensor<2>, Tensor<1>) {
        let device = logits.device();
        let [tokens, _] = logits.dims();
        let (p, ids) = softmax(logits, 1).sort_descending_with_indices(1);
        let (p, ids) = (p.narrow(1, 0, k), ids.narrow(1, 0, k));
        let tail = p.clone().sum_dim(1).neg().add_scalar(1.0).clamp_min(0.0);
        let filler = Tensor::zeros([tokens, 1], &device);
        let p = Tensor::cat(vec![p, filler], 1);
        let ids = Tensor::cat(vec![ids.clone(), ids.narrow(1, 0, 1)], 1);
        (ids, p, tail.squeeze_dim(1))
    }

    proptest! {
        #[test]
        fn both_forms_agree(
            tokens in 1usize..6, vocabulary in 2usize..50, k in 1usize..50, seed in any::<u64>(),
            scale in 0.1f32..6.0, temperature in 0.5f64..3.0,
        ) {
            let (ids, p, tail) = top_k(logits([tokens, vocabulary], seed ^ 1, scale), k.min(vocabulary));
            let student = logits([tokens, vocabulary], seed, scale);
            let weights = weights(tokens, seed);
            let native = sparse_kl(student.clone(), ids.clone(), p.clone(), tail.clone(), weights.clone(), temperature);
            let composed = composed(student, ids, p, tail, weights, temperature);
            let t = temperature as f32;
            let exact = 1e-5 * (1.0 + scale / t) * tokens as f32;
            assert_within(native.value.into_data(), composed.value.into_data(), exact * t * t);
            assert_within(native.gradient.into_data(), composed.gradient.into_data(), exact * t);
        }

        #[test]
        fn with_its_tail_it_is_a_kl_of_at_most_the_full_one(
            k in 1usize..20, seed in any::<u64>(), scale in 0.1f32..6.0,
        ) {
            let (student, teacher) = (logits([1, 20], seed, scale), logits([1, 20], seed ^ 1, scale));
            let (ids, p, tail) = top_k(teacher.clone(), k);
            let one = Tensor::<1>::from_data([1.0], &Device::flex());
            let sparse = sparse_kl(student.clone(), ids, p, tail, one.clone(), 1.0).value.into_scalar::<f32>();
            let full = divergence(Divergence::ForwardKl, student, teacher, one, 1.0).value.into_scalar::<f32>();
            prop_assert!(sparse >= -1e-5 && sparse <= full + 1e-4 * (1.0 + full), "{sparse} {full}");
        }

        #[test]
        fn its_gradient_is_that_of_finite_differences(seed in any::<u64>(), k in 1usize..5, at in 0usize..6) {
            let device = Device::flex();
            let (ids, p, tail) = top_k(logits([1, 6], seed ^ 1, 1.5), k);
            let student = logits([1, 6], seed, 1.5);
            let of = |by: f32| {
                let mut step = vec![0.0f32; 6];
                step[at] = by;
                let student = student.clone() + Tensor::from_data(TensorData::new(step, [1, 6]), &device);
                let one = Tensor::<1>::from_data([1.0], &device);
                sparse_kl(student, ids.clone(), p.clone(), tail.clone(), one, 1.5)
            };
            let value = |by| f64::from(of(by).value.into_scalar::<f32>());
            let difference = (value(1e-2) - value(-1e-2)) / 2e-2;
            let closed = f64::from(of(0.0).gradient.into_data().iter::<f32>().nth(at).unwrap());
            prop_assert!((closed - difference).abs() < 2e-3, "{closed} {difference}");
        }
    }

    #[test]
    fn the_numbers_of_a_known_example() {
        let device = Device::flex();
        // p = (.5, .3, .1, .1), q = (.6, .35, .03, .02), the two likeliest ids.
        let student = Tensor::<2>::from_data([[0.6f32, 0.35, 0.03, 0.02]], &device).log();
        let ids = Tensor::<2, Int>::from_data([[0, 1]], &device);
        let p = Tensor::<2>::from_data([[0.5, 0.3]], &device);
        let one = Tensor::<1>::from_data([1.0], &device);
        for form in [sparse_kl, composed] {
            let with = |tail: f32| {
                let tail = Tensor::<1>::from_data([tail], &device);
                form(
                    student.clone(),
                    ids.clone(),
                    p.clone(),
                    tail,
                    one.clone(),
                    1.0,
                )
                .value
                .into_scalar::<f32>()
            };
            assert!((with(0.2) - 0.1399).abs() < 1e-4, "{}", with(0.2));
            // Cut off, it is no divergence any more.
            assert!((with(0.0) + 0.137).abs() < 1e-3, "{}", with(0.0));
        }
    }
}
