use crate::logits;
use burn::tensor::Tensor;
use distily_core::{Comparison, ModelShape, ObjectiveError, Taps, Term};

/// Forward KL: Σ weight · T² · KL(p ‖ q) over the tokens, where p and q are the softmax of the
/// teacher's and the student's logits over the temperature T (Hinton et al., 1503.02531).
///
/// Shapes: both logits `[tokens, vocabulary]`, `weights` `[tokens]` (see
/// [`mean_over`](crate::mean_over)); the result is `[1]`. The gradient, weight · T · (q - p), is
/// taken in closed form with the value; the teacher gets none.
///
/// # Panics
///
/// If the shapes differ.
pub fn forward_kl(
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
) -> Tensor<1> {
    let of = distily_kernels::Divergence::ForwardKl;
    distily_kernels::divergence(of, student.clone(), teacher, weights, temperature)
        .attached_to(student)
}

/// [`forward_kl`] as a [`Term`].
#[derive(Debug, Clone, PartialEq)]
pub struct ForwardKl {
    /// Its factor in the objective.
    pub weight: f64,
    /// The temperature T.
    pub temperature: f64,
}

impl Term for ForwardKl {
    fn name(&self) -> &str {
        "forward_kl"
    }

    fn weight(&self) -> f64 {
        self.weight
    }

    fn taps(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<(Taps, Taps), ObjectiveError> {
        logits::check_vocabularies(self.name(), student, teacher)?;
        Ok((Taps::logits(), Taps::none()))
    }

    fn value(&self, comparison: &Comparison<'_>) -> Result<Tensor<1>, ObjectiveError> {
        let (student, teacher) = logits::of_both(self.name(), comparison)?;
        let weights = comparison.weights(&student.device());
        Ok(forward_kl(student, teacher, weights, self.temperature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    fn logits(values: &[f32], device: &Device) -> Tensor<2> {
        let columns = values.len() / 2;
        Tensor::from_data(TensorData::new(values.to_vec(), [2, columns]), device)
    }

    proptest! {
        #[test]
        fn it_is_never_negative_and_zero_with_zero_gradient_for_equals(
            values in prop::collection::vec(-20f32..20.0, 12), temperature in 0.5f64..4.0,
        ) {
            let device = Device::flex().autodiff();
            let weights = crate::mean_over(&[true, true], &device);
            let student = logits(&values, &device).require_grad();
            let same = logits(&values, &device);
            let loss = forward_kl(student.clone(), same.clone(), weights.clone(), temperature);
            prop_assert_eq!(loss.clone().into_scalar::<f32>(), 0.0);
            let gradient = student.grad(&loss.backward()).unwrap();
            prop_assert_eq!(gradient.abs().max().into_scalar::<f32>(), 0.0);
            let other = same.flip([1]);
            let loss = forward_kl(student, other, weights, temperature).into_scalar::<f32>();
            prop_assert!(loss >= -1e-6);
        }

        #[test]
        fn its_gradient_is_that_of_finite_differences(
            values in prop::collection::vec(-3f32..3.0, 12), temperature in 0.5f64..4.0,
            at in 0usize..6,
        ) {
            let device = Device::flex().autodiff();
            let (student, teacher) = values.split_at(6);
            let weights = crate::mean_over(&[true, true], &device);
            let loss = |student: Tensor<2>| {
                forward_kl(student, logits(teacher, &device), weights.clone(), temperature)
            };
            let leaf = logits(student, &device).require_grad();
            let gradient = leaf.grad(&loss(leaf.clone()).backward()).unwrap();
            let gradient = gradient.into_data().try_to_vec::<f32>().unwrap()[at];
            let moved = |by: f32| {
                let mut values = student.to_vec();
                values[at] += by;
                f64::from(loss(logits(&values, &device)).into_scalar::<f32>())
            };
            let difference = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            prop_assert!((f64::from(gradient) - difference).abs() < 1e-3);
        }
    }

    #[test]
    fn it_is_the_value_of_the_formula() {
        let device = Device::flex();
        // p = (.5, .3, .1, .1) and q = (.6, .35, .03, .02).
        let row = |p: [f32; 4]| Tensor::<2>::from_data([p], &device).log();
        let weights = crate::mean_over(&[true], &device);
        let (q, p) = (row([0.6, 0.35, 0.03, 0.02]), row([0.5, 0.3, 0.1, 0.1]));
        let kl = forward_kl(q, p, weights, 1.0).into_scalar::<f32>();
        assert!((kl - 0.1439).abs() < 1e-4, "{kl}");
    }
}
