use crate::in_format_of;
use burn::tensor::Tensor;

/// The numbers of one step of [`lion`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LionStep {
    /// The learning rate.
    pub learning_rate: f64,
    /// How much of the momentum is in the update.
    pub beta_1: f32,
    /// Decay of the momentum.
    pub beta_2: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// A factor on the gradient, such as that of a norm that is too large.
    pub gradient_factor: f64,
}

impl LionStep {
    /// What the parameter is multiplied by.
    pub(crate) fn decay(&self) -> f64 {
        1.0 - self.learning_rate * f64::from(self.weight_decay)
    }
}

/// One step of Lion (Chen et al., 2302.06675, algorithm 2), outside any graph: the parameter and its
/// momentum after it. On a CPU they are changed in place, and nothing is copied that has no second
/// holder.
///
/// Shapes: all the same; the momentum is 0 before the first step. All is computed in the parameter's
/// number format, which the others take on.
///
/// # Panics
///
/// If the shapes differ.
pub fn lion<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    momentum: Tensor<D>,
    step: LionStep,
) -> (Tensor<D>, Tensor<D>) {
    let parameter = parameter.without_autodiff();
    let gradient = in_format_of(gradient.without_autodiff(), &parameter);
    let momentum = in_format_of(momentum.without_autodiff(), &parameter);
    let shape = parameter.dims();
    assert_eq!(gradient.dims(), shape, "the gradient's shape differs");
    assert_eq!(momentum.dims(), shape, "the momentum's shape differs");
    #[cfg(feature = "flex")]
    if [&parameter, &gradient, &momentum]
        .into_iter()
        .all(crate::native::serves)
    {
        return crate::native::lion(parameter, gradient, momentum, step);
    }
    composed(parameter, gradient, momentum, step)
}

fn composed<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    momentum: Tensor<D>,
    step: LionStep,
) -> (Tensor<D>, Tensor<D>) {
    let gradient = gradient.mul_scalar(step.gradient_factor);
    let blended =
        |beta: f32| momentum.clone().mul_scalar(beta) + gradient.clone().mul_scalar(1.0 - beta);
    let update = blended(step.beta_1).sign().mul_scalar(step.learning_rate);
    let parameter = parameter.mul_scalar(step.decay()) - update;
    (parameter, blended(step.beta_2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, logits};
    use proptest::prelude::*;

    const STEP: LionStep = LionStep {
        learning_rate: 0.01,
        beta_1: 0.9,
        beta_2: 0.99,
        weight_decay: 0.1,
        gradient_factor: 0.5,
    };

    proptest! {
        #[test]
        fn both_forms_agree(rows in 1usize..9, columns in 1usize..70, seed in any::<u64>()) {
            let tensor = |n| logits([rows, columns], seed ^ n, 1.0);
            let (parameter, gradient, momentum) = (tensor(0), tensor(1), tensor(2));
            let kept = parameter.clone();
            let forms = [lion, composed];
            let [native, composed] = forms
                .map(|form| form(parameter.clone(), gradient.clone(), momentum.clone(), STEP));
            assert_close(native.0.into_data(), composed.0.into_data(), 1.0);
            assert_close(native.1.into_data(), composed.1.into_data(), 1.0);
            prop_assert_eq!(kept.into_data(), parameter.into_data(), "another holder keeps it");
        }
    }

    #[test]
    fn where_nothing_pulls_only_the_decay_is_left() {
        let parameter = logits([2, 3], 1, 1.0);
        let zeros = parameter.zeros_like();
        let (after, momentum) = lion(parameter.clone(), zeros.clone(), zeros.clone(), STEP);
        assert_close(
            after.into_data(),
            parameter.mul_scalar(0.999).into_data(),
            1.0,
        );
        assert_eq!(momentum.into_data(), zeros.into_data());
    }
}
