use super::lanes::{exponentials, vectorized};
use super::over_tokens::over_tokens;
use super::tensors::{elements, slice};
use crate::ValueAndGradient;
use burn::tensor::{Int, Tensor};

pub(crate) fn cross_entropy(
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    weights: Tensor<1>,
) -> ValueAndGradient {
    let shape @ [_, vocabulary] = logits.dims();
    let logits = elements(&logits);
    let logits = slice(&logits);
    let targets: Vec<usize> = targets
        .into_data()
        .iter::<i64>()
        .map(|id| id as usize)
        .collect();
    over_tokens(
        shape,
        &weights,
        1.0,
        || (),
        |(), token, gradient| {
            let logits = &logits[token * vocabulary..(token + 1) * vocabulary];
            let target = targets[token];
            vectorized!({
                let (highest, total) = exponentials(logits, 1.0, gradient);
                let share = 1.0 / total;
                gradient.iter_mut().for_each(|gradient| *gradient *= share);
                gradient[target] -= 1.0;
                f64::from(total).ln() - f64::from(logits[target] - highest)
            })
        },
    )
}
