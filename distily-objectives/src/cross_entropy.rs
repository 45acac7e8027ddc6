use crate::Weight;
use crate::output_pass::output_pass;
use burn::tensor::{Int, Tensor};
use distily_core::{
    Comparison, ModelShape, ObjectiveError, OutputLoss, OutputTokens, Taps, Term, ValueAndGradient,
};

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
    /// What logs and reports call it.
    pub name: String,
    /// Its factor in the objective.
    pub weight: Weight,
}

impl OutputLoss for CrossEntropy {
    fn needs_teacher(&self) -> bool {
        false
    }

    fn value_and_gradient(
        &self,
        tokens: &OutputTokens,
    ) -> Result<ValueAndGradient, ObjectiveError> {
        let (logits, weights) = (tokens.student.clone(), tokens.weights.clone());
        let targets = tokens.targets.clone();
        Ok(distily_kernels::cross_entropy(logits, targets, weights))
    }
}

impl Term for CrossEntropy {
    fn name(&self) -> &str {
        &self.name
    }

    fn weight(&self, step: usize) -> f64 {
        self.weight.at(step)
    }

    fn taps(&self, _: &ModelShape, _: &ModelShape) -> Result<(Taps, Taps), ObjectiveError> {
        Ok((Taps::none(), Taps::none()))
    }

    fn value(&self, comparison: &Comparison<'_>) -> Result<Tensor<1>, ObjectiveError> {
        Ok(output_pass(&[(1.0, self)], comparison, None)?.total)
    }

    fn output_loss(&self) -> Option<&dyn OutputLoss> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn value_and_gradient_are_those_of_the_formula() {
        let device = Device::default().autodiff();
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
