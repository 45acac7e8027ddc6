use burn::tensor::Tensor;
use distily_kernels::Divergence;

/// How far a student's next-token distributions are from a teacher's: Σ weight · T² · D(p, q) over
/// the tokens, where p and q are the softmax of the teacher's and the student's logits over the
/// temperature T; see [`Divergence`] for what D may be.
///
/// Shapes: both logits `[tokens, vocabulary]`, `weights` `[tokens]` (see
/// [`mean_over`](crate::mean_over)); the result is `[1]`. The gradient is taken in closed form with
/// the value; the teacher gets none.
///
/// # Panics
///
/// If the shapes differ.
pub fn divergence(
    divergence: Divergence,
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
) -> Tensor<1> {
    distily_kernels::divergence(divergence, student.clone(), teacher, weights, temperature)
        .attached_to(student)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn it_is_the_value_of_the_formula() {
        let device = Device::default();
        // p = (.5, .3, .1, .1) and q = (.6, .35, .03, .02).
        let row = |p: [f32; 4]| Tensor::<2>::from_data([p], &device).log();
        let weights = crate::mean_over(&[true], &device);
        let (q, p) = (row([0.6, 0.35, 0.03, 0.02]), row([0.5, 0.3, 0.1, 0.1]));
        let kl = divergence(Divergence::ForwardKl, q, p, weights, 1.0).into_scalar::<f32>();
        assert!((kl - 0.1439).abs() < 1e-4, "{kl}");
    }
}
