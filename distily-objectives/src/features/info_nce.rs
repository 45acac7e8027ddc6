use super::cosine::Directions;
use super::rows::{Rows, filled};
use burn::tensor::{Int, Tensor};

/// InfoNCE: Σ weight · -ln(e^{s·t⁺/τ} / Σ e^{s·t/τ}), of vectors of length 1, where t⁺ is the
/// teacher's of the same token and the sum runs over those of all the batch's tokens that count
/// (van den Oord et al., 1807.03748; for distillation, CRD, 1910.10699, whose memory bank this has
/// not). ln(n) less this loss is a lower bound of the mutual information between both sides.
///
/// Shapes: `student` and `teacher` `[tokens, width]`, `weights` `[tokens]` (see
/// [`mean_over`](crate::mean_over)); the result is `[1]`. A token of weight 0 contributes nothing,
/// whatever its features are; the teacher gets no gradient. A vector without a component of 1e-8
/// or more is 0, without gradient. It works in `[tokens, tokens]`.
///
/// **Not 0 for equals**: tokens that are like others keep it above 0, and its gradient moves them
/// apart. **Not a mean over tokens**: the parts of an accumulated step have fewer negatives, so
/// they add up to less than the whole.
///
/// # Panics
///
/// If the shapes differ or `tau` is not above 0.
pub fn info_nce(student: Tensor<2>, teacher: Tensor<2>, weights: Tensor<1>, tau: f64) -> Tensor<1> {
    assert!(tau > 0.0 && tau.is_finite(), "tau must be above 0");
    let rows = Rows::alike(student, teacher, weights);
    let student = Directions::of(rows.student.clone()).vectors;
    let teacher = Directions::of(rows.teacher.clone()).vectors;
    let scores = student.matmul(teacher.transpose()).div_scalar(tau);
    // A number and not -inf: where no token counts, a row has nothing else.
    let scores = filled(scores, rows.masked.clone().transpose(), -1e30);
    let itself = Tensor::<1, Int>::arange(0..scores.dims()[0] as i64, &scores.device());
    let log_shares = burn::tensor::activation::log_softmax(scores, 1);
    rows.sum(log_shares.gather(1, itself.unsqueeze_dim(1)).neg())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{laws, random};
    use super::*;
    use burn::tensor::Device;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_the_laws(
            seed in any::<u64>(), tokens in 1usize..7, width in 2usize..9, tau in 0.1f64..2.0,
        ) {
            let info_nce = |s, t, w| info_nce(s, t, w, tau);
            laws(&info_nce, [tokens, width], seed, &[]);
        }
    }

    #[test]
    fn it_is_the_value_of_the_formula() {
        let device = Device::default();
        // Orthogonal tokens, the third of which does not count: -ln(e² / (e² + 1)).
        let student = Tensor::<2>::from_data([[3.0, 0.0], [0.0, 5.0], [1.0, 1.0]], &device);
        let weights = crate::mean_over(&[true, true, false], &device);
        let loss = info_nce(student.clone(), student, weights, 0.5).into_scalar::<f32>();
        assert!((loss - (1.0 + (-2f32).exp()).ln()).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn alone_a_token_has_nothing_to_be_told_from() {
        let x = random([3, 4], 1);
        let weights = crate::mean_over(&[false, true, false], &x.device());
        assert_eq!(
            info_nce(x.clone(), x, weights, 0.1).into_scalar::<f32>(),
            0.0
        );
    }
}
