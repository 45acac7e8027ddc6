use super::lanes::{exponentials, sum, vectorized};
use super::over_tokens::over_tokens;
use super::tensors::{elements, slice};
use crate::ValueAndGradient;
use crate::sparse_kl::LEAST_REST;
use burn::tensor::{Int, Tensor};

pub(crate) fn sparse_kl(
    student: Tensor<2>,
    ids: Tensor<2, Int>,
    probabilities: Tensor<2>,
    tail: Tensor<1>,
    weights: Tensor<1>,
    temperature: f64,
) -> ValueAndGradient {
    let shape @ [_, vocabulary] = student.dims();
    let [_, k] = ids.dims();
    let ids: Vec<usize> = ids
        .into_data()
        .iter::<i64>()
        .map(|id| id as usize)
        .collect();
    let (student, p) = (elements(&student), elements(&probabilities));
    let tail = elements(&tail);
    let (student, p, tail) = (slice(&student), slice(&p), slice(&tail));
    over_tokens(
        shape,
        &weights,
        temperature as f32,
        || (),
        |(), token, gradient| {
            let row = token * k..(token + 1) * k;
            let known = ids[row.clone()]
                .iter()
                .copied()
                .zip(p[row].iter().copied())
                .filter(|&(_, p)| p > 0.0);
            let logits = &student[token * vocabulary..(token + 1) * vocabulary];
            of_row(
                logits,
                known,
                tail[token],
                1.0 / temperature as f32,
                gradient,
            )
        },
    )
}

/// Fills the gradient with respect to the logits over T, and returns the value.
fn of_row(
    logits: &[f32],
    known: impl Iterator<Item = (usize, f32)> + Clone,
    tail: f32,
    sharpness: f32,
    gradient: &mut [f32],
) -> f64 {
    let (highest, total) = vectorized!(exponentials(logits, sharpness, gradient));
    let log_total = f64::from(total).ln();
    let mut value = 0.0;
    let mut of_known = Vec::new();
    for (id, p) in known {
        let log_q = f64::from((logits[id] - highest) * sharpness) - log_total;
        value += f64::from(p) * (f64::from(p).ln() - log_q);
        of_known.push((id, gradient[id] / total - p));
        // What is left is the rest.
        gradient[id] = 0.0;
    }
    vectorized!({
        let rest = (sum(
            [gradient],
            #[inline(always)]
            |[rest]| rest,
        ) / total)
            .max(LEAST_REST);
        if tail > 0.0 {
            value += f64::from(tail) * (f64::from(tail).ln() - f64::from(rest).ln());
        }
        let factor = (1.0 - tail / rest) / total;
        gradient.iter_mut().for_each(|gradient| *gradient *= factor);
    });
    for (id, of_known) in of_known {
        gradient[id] = of_known;
    }
    value
}
