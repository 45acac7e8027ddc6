use crate::in_format_of;
use burn::tensor::Tensor;

/// The numbers of one step of [`adamw`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// The step, from 1.
    pub time: usize,
    /// The learning rate.
    pub learning_rate: f64,
    /// Decay of the gradient's mean.
    pub beta_1: f32,
    /// Decay of the squared gradient's mean.
    pub beta_2: f32,
    /// Added to the divisor.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// A factor on the gradient, such as that of a norm that is too large.
    pub gradient_factor: f64,
}

impl AdamWStep {
    /// What the parameter is multiplied by.
    pub(crate) fn decay(&self) -> f64 {
        1.0 - self.learning_rate * f64::from(self.weight_decay)
    }

    /// 1 - β^t of both moments: what is missing to a mean that began at 0.
    pub(crate) fn corrections(&self) -> [f64; 2] {
        [self.beta_1, self.beta_2].map(|beta| 1.0 - f64::from(beta).powf(self.time as f64))
    }
}

/// One step of AdamW (Loshchilov and Hutter, 1711.05101, algorithm 2), outside any graph: the
/// parameter and its moments after it. On a CPU they are changed in place, and nothing is copied
/// that has no second holder.
///
/// Shapes: all the same; `moments` are those of the gradient and of its square, 0 before the first
/// step. All is computed in the parameter's number format, which the others take on.
///
/// # Panics
///
/// If the shapes differ, or the step is 0.
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    assert!(step.time > 0, "the first step is 1");
    let parameter = parameter.without_autodiff();
    let gradient = in_format_of(gradient.without_autodiff(), &parameter);
    let moments = moments.map(|moment| in_format_of(moment.without_autodiff(), &parameter));
    let shape = parameter.dims();
    assert_eq!(gradient.dims(), shape, "the gradient's shape differs");
    for moment in &moments {
        assert_eq!(moment.dims(), shape, "a moment's shape differs");
    }
    #[cfg(feature = "flex")]
    if [&parameter, &gradient, &moments[0], &moments[1]]
        .into_iter()
        .all(crate::native::serves)
    {
        return crate::native::adamw(parameter, gradient, moments, step);
    }
    composed(parameter, gradient, moments, step)
}

fn composed<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    [mean, square]: [Tensor<D>; 2],
    step: AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let gradient = gradient.mul_scalar(step.gradient_factor);
    let mean = mean.mul_scalar(step.beta_1) + gradient.clone().mul_scalar(1.0 - step.beta_1);
    let square = square.mul_scalar(step.beta_2) + gradient.square().mul_scalar(1.0 - step.beta_2);
    let [of_mean, of_square] = step.corrections();
    let deviation = square.clone().div_scalar(of_square).sqrt();
    let update = mean.clone().div_scalar(of_mean) / deviation.add_scalar(step.epsilon);
    let parameter = parameter.mul_scalar(step.decay()) - update.mul_scalar(step.learning_rate);
    (parameter, [mean, square])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, logits};
    use proptest::prelude::*;

    fn step(time: usize) -> AdamWStep {
        AdamWStep {
            time,
            learning_rate: 0.01,
            beta_1: 0.9,
            beta_2: 0.99,
            epsilon: 1e-8,
            weight_decay: 0.1,
            gradient_factor: 0.5,
        }
    }

    proptest! {
        #[test]
        fn both_forms_agree(
            rows in 1usize..9, columns in 1usize..70, seed in any::<u64>(), time in 1usize..99,
        ) {
            let shape = [rows, columns];
            let tensor = |n| logits(shape, seed ^ n, 1.0);
            let (parameter, gradient) = (tensor(0), tensor(1));
            let moments = [tensor(2), tensor(3).square()];
            let kept = parameter.clone();
            let forms = [adamw, composed];
            let [native, composed] = forms.map(|form| {
                form(parameter.clone(), gradient.clone(), moments.clone(), step(time))
            });
            assert_close(native.0.into_data(), composed.0.into_data(), 1.0);
            for (native, composed) in native.1.into_iter().zip(composed.1) {
                assert_close(native.into_data(), composed.into_data(), 1.0);
            }
            prop_assert_eq!(kept.into_data(), parameter.into_data(), "another holder keeps it");
        }
    }

    #[test]
    fn the_first_step_goes_by_the_learning_rate_against_the_gradient() {
        let parameter = logits([2, 3], 1, 1.0);
        let gradient = logits([2, 3], 2, 1.0);
        let zeros = || parameter.zeros_like();
        let without_decay = AdamWStep {
            weight_decay: 0.0,
            ..step(1)
        };
        let moments = [zeros(), zeros()];
        let (after, _) = adamw(parameter.clone(), gradient.clone(), moments, without_decay);
        let expected = parameter - gradient.sign().mul_scalar(0.01);
        assert_close(after.into_data(), expected.into_data(), 1.0);
    }
}
