use super::cosine::Directions;
use super::rows::Rows;
use burn::tensor::Tensor;

/// DIST (Huang et al., 2205.10536): `within` · mean over the tokens of 1 - ρ(s, t), plus `between`
/// · mean over the columns of 1 - ρ(column of s, column of t), where ρ is Pearson's correlation;
/// the tokens that count are the rows of a column. The paper calls the first inter-class (β) and
/// the second intra-class (γ), takes both at weight 1 to 2, and applies them to probabilities: for
/// that, give it the softmax of both sides over the temperature T, and multiply by T².
///
/// Shapes: `student` and `teacher` `[tokens, width]`, `weights` `[tokens]` (see
/// [`mean_over`](crate::mean_over)); the result is `[1]`. A token of weight 0 contributes nothing,
/// whatever its features are; the teacher gets no gradient. A row or column that is constant, to
/// its rounding, has no correlation: 0 if it is so on both sides, else 1, without gradient.
///
/// The part within tokens is a mean over tokens. **The part between tokens is not**: it is that of
/// the batch times Σ weights, so an accumulated step is the mean of its batches', weighted by
/// their tokens.
///
/// # Panics
///
/// If the shapes differ.
pub fn dist(
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    within: f64,
    between: f64,
) -> Tensor<1> {
    let rows = Rows::alike(student, teacher, weights);
    let row = |x: &Tensor<2>| {
        let mean = x.clone().mean_dim(1);
        Directions::of_centred(x.clone() - mean, largest(x.clone()))
    };
    let column = |x: &Tensor<2>| {
        let centred = rows.centred(x.clone()).transpose();
        Directions::of_centred(centred, largest(x.clone().transpose()))
    };
    let of_rows = row(&rows.student).distance(row(&rows.teacher));
    let of_columns = column(&rows.student).distance(column(&rows.teacher));
    rows.sum(of_rows).mul_scalar(within)
        + (of_columns.mean() * rows.weights.clone().sum()).mul_scalar(between)
}

/// The largest magnitude along the last axis, `[.., 1]`, outside any graph.
fn largest(x: Tensor<2>) -> Tensor<2> {
    x.without_autodiff().max_abs_dim(1)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Law, laws, random};
    use super::*;
    use burn::tensor::Device;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_the_laws(
            seed in any::<u64>(), tokens in 1usize..7, width in 3usize..9, within in 0f64..2.0,
        ) {
            let shape = [tokens, width];
            laws(&|s, t, w| dist(s, t, w, within, 1.0), shape, seed, &[Law::ZeroForEquals]);
            laws(&|s, t, w| dist(s, t, w, within, 0.0), shape, seed, &Law::ALL);
        }

        #[test]
        fn within_a_token_scale_and_shift_change_nothing(
            seed in any::<u64>(), scale in 0.1f32..10.0, shift in -5f32..5.0,
        ) {
            let (student, teacher) = (random([4, 6], seed), random([4, 6], seed ^ 1));
            let weights = crate::mean_over(&[true; 4], &student.device());
            let value = |x| dist(x, teacher.clone(), weights.clone(), 1.0, 1.0);
            let difference = value(student.clone()) - value(student * scale + shift);
            prop_assert!(difference.into_scalar::<f32>().abs() < 1e-3);
        }
    }

    #[test]
    fn what_is_constant_has_no_correlation() {
        let device = Device::default();
        let weights = crate::mean_over(&[true; 3], &device);
        let constant = Tensor::<2>::full([3, 7], 0.1, &device) * 3.0;
        let value = |s: &Tensor<2>, t: &Tensor<2>| {
            dist(s.clone(), t.clone(), weights.clone(), 1.0, 1.0).into_scalar::<f32>()
        };
        assert_eq!(value(&constant, &constant), 0.0);
        assert!((value(&constant, &random([3, 7], 1)) - 2.0).abs() < 1e-6);
    }
}
