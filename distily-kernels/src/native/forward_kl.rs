use super::lanes::{exp, max, sum, vectorized};
use super::tensors::{elements, plain, slice};
use crate::ValueAndGradient;
use burn::tensor::Tensor;
use rayon::prelude::*;

pub(crate) fn forward_kl(
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
) -> ValueAndGradient {
    let shape @ [tokens, vocabulary] = student.dims();
    let (student, teacher) = (elements(&student), elements(&teacher));
    let weights = elements(&weights);
    let (student, teacher, weights) = (slice(&student), slice(&teacher), slice(&weights));
    let temperature = temperature as f32;
    let mut gradient = vec![0.0; student.len()];
    let mut values = vec![0.0; tokens];
    gradient
        .par_chunks_mut(vocabulary)
        .zip(&mut values)
        .enumerate()
        .for_each_init(
            || vec![0.0; vocabulary],
            |scratch, (token, (gradient, value))| {
                let row = token * vocabulary..(token + 1) * vocabulary;
                let weight = weights[token];
                if weight != 0.0 {
                    let (student, teacher) = (&student[row.clone()], &teacher[row]);
                    *value = vectorized(|| {
                        kl_of_row(student, teacher, weight, temperature, gradient, scratch)
                    });
                }
            },
        );
    ValueAndGradient {
        value: plain(vec![values.iter().sum::<f64>() as f32], [1]),
        gradient: plain(gradient, shape),
    }
}

/// Fills the gradient and returns the weighted value; `scratch` is as long as the row.
#[inline(always)]
fn kl_of_row(
    student: &[f32],
    teacher: &[f32],
    weight: f32,
    temperature: f32,
    gradient: &mut [f32],
    scratch: &mut [f32],
) -> f64 {
    let len = student.len();
    let (teacher, gradient, scratch) = (&teacher[..len], &mut gradient[..len], &mut scratch[..len]);
    let sharpness = 1.0 / temperature;
    let (highest_s, highest_t) = (max(student), max(teacher));
    for i in 0..len {
        gradient[i] = exp((student[i] - highest_s) * sharpness);
        scratch[i] = exp((teacher[i] - highest_t) * sharpness);
    }
    let (total_s, total_t) = (sum(len, |i| gradient[i]), sum(len, |i| scratch[i]));
    // KL = Σ p (log p - log q), where log p = (t - max t) / T - ln Σ, and log q likewise.
    let expected = sum(len, |i| {
        let difference = (teacher[i] - highest_t) - (student[i] - highest_s);
        if scratch[i] == 0.0 {
            0.0
        } else {
            scratch[i] * difference
        }
    });
    let kl = f64::from(expected * sharpness / total_t)
        + (f64::from(total_s).ln() - f64::from(total_t).ln());
    let factor = weight * temperature;
    let (scale_s, scale_t) = (factor / total_s, factor / total_t);
    for i in 0..len {
        gradient[i] = gradient[i] * scale_s - scratch[i] * scale_t;
    }
    f64::from(weight * temperature * temperature) * kl
}
