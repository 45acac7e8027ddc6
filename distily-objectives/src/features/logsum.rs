use super::rows::Rows;
use burn::tensor::Tensor;

/// The log of the α-norm of the difference: Σ weight · ln(1 + (‖s - t‖_α / floor)^α) over the
/// tokens (the LogSum distance of 2303.11098, where α is 4 to 5).
///
/// The paper's ln Σ |d|^α = α · ln ‖d‖_α has neither a value nor a gradient where student and
/// teacher are equal. `floor` is the norm below which the loss goes flat: above it, the value is
/// the paper's less the constant α · ln(floor), with the paper's gradient; below it, it runs
/// smoothly into 0 with a gradient of 0, so it is never negative. A floor of 1 leaves the paper's
/// value as it is for large differences.
///
/// Shapes: `student` and `teacher` `[tokens, width]`, `weights` `[tokens]` (see
/// [`mean_over`](crate::mean_over)); the result is `[1]`. A token of weight 0 contributes nothing,
/// whatever its features are; the teacher gets no gradient. The log is taken of each token, so it
/// is a mean over tokens: the parts of an accumulated step add up to the whole.
///
/// # Panics
///
/// If the shapes differ, `alpha` is not above 1 or `floor` is not above 0.
pub fn logsum(
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    alpha: f64,
    floor: f64,
) -> Tensor<1> {
    assert!(alpha > 1.0 && alpha.is_finite(), "alpha must be above 1");
    assert!(floor > 0.0 && floor.is_finite(), "floor must be above 0");
    let rows = Rows::alike(student, teacher, weights);
    let difference = (rows.student.clone() - rows.teacher.clone()).abs();
    // In units of the largest difference of each token no power leaves the range:
    // 1 + Σ (d/f)^α = (m/f)^α · (Σ (d/m)^α + (f/m)^α), of which m has no gradient.
    let largest = difference.clone().without_autodiff().max_dim(1);
    let unit = largest.clamp_min(floor);
    let floor_share = unit.clone().recip().mul_scalar(floor).powf_scalar(alpha);
    let of_unit = unit.clone().div_scalar(floor).log().mul_scalar(alpha);
    let powers = (difference / unit).powf_scalar(alpha).sum_dim(1);
    rows.sum((powers + floor_share.sub_scalar(1.0)).log1p() + of_unit)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Law, laws};
    use super::*;
    use burn::tensor::Device;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_the_laws(
            seed in any::<u64>(), tokens in 1usize..7, width in 1usize..9, alpha in 2f64..6.0,
            floor in 0.05f64..1.0,
        ) {
            let logsum = |s, t, w| logsum(s, t, w, alpha, floor);
            laws(&logsum, [tokens, width], seed, &Law::ALL);
        }
    }

    #[test]
    fn it_is_the_log_of_the_norm_where_that_is_large() {
        let device = Device::default();
        let student = Tensor::<2>::from_data([[3.0, -5.0, 1e8]], &device);
        let teacher = Tensor::<2>::zeros([1, 3], &device);
        let weights = crate::mean_over(&[true], &device);
        let first = |x: Tensor<2>| x.narrow(1, 0, 2);
        let two = logsum(
            first(student.clone()),
            first(teacher.clone()),
            weights.clone(),
            4.0,
            1.0,
        );
        assert!((two.into_scalar::<f32>() - 707f32.ln()).abs() < 1e-6);
        let far = logsum(student, teacher, weights, 6.0, 1e-3).into_scalar::<f32>();
        assert!((far - 6.0 * 1e11f32.ln()).abs() < 1e-3);
    }
}
