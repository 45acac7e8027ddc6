use super::lanes::vectorized;
use super::tensors::{elements, plain, slice};
use super::unwritten::Unwritten;
use crate::ValueAndGradient;
use burn::tensor::Tensor;
use rayon::prelude::*;

/// A loss of logits at a temperature T: Σ weight · T² · loss of the token, with the gradient with
/// respect to the logits. `of_token` is given a scratch that no other token uses meanwhile, the token and
/// its row of the gradient, zeros, which it fills with respect to the logits over T; it returns the loss.
/// Tokens of weight 0 are skipped: their loss and gradient are 0.
pub(super) fn over_tokens<S>(
    shape: [usize; 2],
    weights: &Tensor<1>,
    temperature: f32,
    scratch: impl Fn() -> S + Send + Sync,
    of_token: impl Fn(&mut S, usize, &mut [f32]) -> f64 + Sync,
) -> ValueAndGradient {
    let [tokens, vocabulary] = shape;
    let weights = elements(weights);
    let weights = slice(&weights);
    let mut gradient = Unwritten::new(tokens * vocabulary);
    let mut values = vec![0.0; tokens];
    gradient
        .par_chunks_mut(vocabulary)
        .zip(&mut values)
        .enumerate()
        .for_each_init(scratch, |scratch, (token, (gradient, value))| {
            let weight = weights[token];
            if weight == 0.0 {
                return;
            }
            let loss = of_token(scratch, token, gradient);
            *value = f64::from(weight * temperature * temperature) * loss;
            let factor = weight * temperature;
            vectorized!(gradient.iter_mut().for_each(|gradient| *gradient *= factor));
        });
    ValueAndGradient {
        value: plain(vec![values.iter().sum::<f64>() as f32], [1]),
        gradient: plain(gradient.into_vec(), shape),
    }
}
