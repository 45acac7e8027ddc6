use crate::logits;
use burn::tensor::{Int, Tensor};
use distily_core::{Comparison, ModelShape, ObjectiveError, Taps, Term};

/// Cross entropy with the tokens of the data: Σ weight · -log q(target), where q is the softmax of
/// the logits.
///
/// Shapes: `logits` `[tokens, vocabulary]`; `targets` `[tokens]`, ids below the vocabulary;
/// `weights` `[tokens]` (see [`mean_over`](crate::mean_over)); the result is `[1]`. The gradient,
/// weight · (q - one_hot(target)), is taken in closed form with the value.
///
/// # Panics
///
/// If the shapes differ, or a target that counts is not in the vocabulary.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, weights: Tensor<1>) -> Tensor<1> {
    distily_kernels::cross_entropy(logits.clone(), targets, weights).attached_to(logits)
}

/// [`cross_entropy`] of the student as a [`Term`].
#[derive(Debug, Clone, PartialEq)]
pub struct CrossEntropy {
    /// Its factor in the objective.
    pub weight: f64,
}

impl Term for CrossEntropy {
    fn name(&self) -> &str {
        "cross_entropy"
    }

    fn weight(&self) -> f64 {
        self.weight
    }

    fn taps(&self, _: &ModelShape, _: &ModelShape) -> Result<(Taps, Taps), ObjectiveError> {
        Ok((Taps::logits(), Taps::none()))
    }

    fn value(&self, comparison: &Comparison<'_>) -> Result<Tensor<1>, ObjectiveError> {
        let logits = logits::of_student(comparison);
        let device = logits.device();
        let targets = comparison.batch.target_ids(&device);
        Ok(cross_entropy(logits, targets, comparison.weights(&device)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn value_and_gradient_are_those_of_the_formula() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<2>::from_data([[0.25f32, 0.25, 0.5], [9.0, 9.0, 9.0]], &device).log();
        let logits = logits.detach().require_grad();
        let targets = Tensor::<1, Int>::from_data([2, 0], &device);
        let weights = crate::mean_over(&[true, false], &device);
        let loss = cross_entropy(logits.clone(), targets, weights);
        assert!((loss.clone().into_scalar::<f32>() - 2f32.ln()).abs() < 1e-6);
        let gradient = logits.grad(&loss.backward()).unwrap();
        let gradient = gradient.into_data().try_to_vec::<f32>().unwrap();
        for (got, expected) in gradient.iter().zip([0.25, 0.25, -0.5, 0.0, 0.0, 0.0]) {
            assert!((got - expected).abs() < 1e-6, "{gradient:?}");
        }
    }
}
