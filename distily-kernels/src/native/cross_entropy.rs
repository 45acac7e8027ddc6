use super::lanes::{exp, max, sum, vectorized};
use super::tensors::{elements, plain, slice};
use crate::ValueAndGradient;
use burn::tensor::{Int, Tensor};
use rayon::prelude::*;

pub(crate) fn cross_entropy(
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
    weights: Tensor<1>,
) -> ValueAndGradient {
    let shape @ [tokens, vocabulary] = logits.dims();
    let (logits, weights) = (elements(&logits), elements(&weights));
    let (logits, weights) = (slice(&logits), slice(&weights));
    let targets: Vec<usize> = targets
        .into_data()
        .iter::<i64>()
        .map(|id| id as usize)
        .collect();
    let mut gradient = vec![0.0; logits.len()];
    let mut values = vec![0.0; tokens];
    gradient
        .par_chunks_mut(vocabulary)
        .zip(&mut values)
        .enumerate()
        .for_each(|(token, (gradient, value))| {
            let weight = weights[token];
            if weight != 0.0 {
                let logits = &logits[token * vocabulary..(token + 1) * vocabulary];
                let target = targets[token];
                *value = vectorized(|| {
                    let highest = max(logits);
                    for (gradient, &logit) in gradient.iter_mut().zip(logits) {
                        *gradient = exp(logit - highest);
                    }
                    let total = sum(vocabulary, |i| gradient[i]);
                    let scale = weight / total;
                    gradient.iter_mut().for_each(|gradient| *gradient *= scale);
                    gradient[target] -= weight;
                    let log_q = f64::from(logits[target] - highest) - f64::from(total).ln();
                    -f64::from(weight) * log_q
                });
            }
        });
    ValueAndGradient {
        value: plain(vec![values.iter().sum::<f64>() as f32], [1]),
        gradient: plain(gradient, shape),
    }
}
