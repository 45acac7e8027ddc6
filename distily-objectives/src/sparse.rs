use burn::tensor::{FloatDType, Int, Tensor, TensorData};
use distily_core::{TeacherTokens, ValueAndGradient};
use distily_kernels::{drawn_ids, likeliest_ids, probabilities_of};
use rand::{Rng, RngExt};
use rayon::prelude::*;

/// A teacher's `k` likeliest ids with their probabilities at a temperature, and the mass of all others.
///
/// Shapes: `logits` `[tokens, vocabulary]`; the ids `[tokens, k]`. Never renormalise them: see
/// [`sparse_kl`](distily_kernels::sparse_kl).
pub fn top_k(logits: Tensor<2>, k: usize, temperature: f64) -> TeacherTokens {
    Sparse::top_k(logits, k, temperature).into()
}

/// Ids that are drawn from a teacher at a temperature, with their frequencies: a KL to them has, in the
/// mean, the gradient of the full one (random sampling KD, ACL 2025).
///
/// Shapes: `logits` `[tokens, vocabulary]`; the ids `[tokens, k]`, where k is the most different ids
/// that a token got. Each token takes `draws` numbers of 64 bits from the generator.
pub fn random_sample(
    logits: Tensor<2>,
    draws: usize,
    temperature: f64,
    generator: &mut impl Rng,
) -> TeacherTokens {
    Sparse::random_sample(logits, draws, temperature, generator).into()
}

/// What is known of a teacher at some ids alone: see [`TeacherTokens::Sparse`].
pub(crate) struct Sparse {
    ids: Tensor<2, Int>,
    probabilities: Tensor<2>,
    tail: Tensor<1>,
    temperature: f64,
}

impl From<Sparse> for TeacherTokens {
    fn from(sparse: Sparse) -> Self {
        let Sparse {
            ids,
            probabilities,
            tail,
            temperature,
        } = sparse;
        Self::Sparse {
            ids,
            probabilities,
            tail,
            temperature,
        }
    }
}

impl Sparse {
    /// See [`top_k`].
    pub(crate) fn top_k(logits: Tensor<2>, k: usize, temperature: f64) -> Self {
        Self::of_rows(logits, temperature, |_, probabilities| {
            let known = likeliest_ids(probabilities, k);
            let tail = 1.0 - known.iter().map(|(_, p)| p).sum::<f64>();
            (known, tail.max(0.0))
        })
    }

    /// See [`random_sample`].
    pub(crate) fn random_sample(
        logits: Tensor<2>,
        draws: usize,
        temperature: f64,
        generator: &mut impl Rng,
    ) -> Self {
        let [tokens, _] = logits.dims();
        // Drawn before the rows go to the cores, in the order of the tokens.
        let points: Vec<f64> = (0..tokens * draws).map(|_| generator.random()).collect();
        Self::of_rows(logits, temperature, |token, probabilities| {
            let points = points[token * draws..(token + 1) * draws].to_vec();
            let share = |(id, count)| (id, count as f64 / draws as f64);
            let known = drawn_ids(probabilities, points);
            (known.into_iter().map(share).collect(), 0.0)
        })
    }

    /// What `choose` keeps of each token's probabilities: ids with their probabilities, and the tail.
    fn of_rows(
        logits: Tensor<2>,
        temperature: f64,
        choose: impl Fn(usize, &[f64]) -> (Vec<(usize, f64)>, f64) + Sync,
    ) -> Self {
        let device = logits.device().without_autodiff();
        let [tokens, vocabulary] = logits.dims();
        let logits = logits.cast(FloatDType::F32).into_data();
        let rows: Vec<(Vec<(usize, f64)>, f64)> = logits
            .as_slice::<f32>()
            .expect("it was cast")
            .par_chunks_exact(vocabulary)
            .enumerate()
            .map_init(Vec::new, |probabilities, (token, logits)| {
                probabilities_of(logits, temperature, probabilities);
                choose(token, probabilities)
            })
            .collect();
        let k = rows.iter().map(|(known, _)| known.len()).max();
        let k = k.unwrap_or(0).max(1);
        let (mut ids, mut probabilities) = (vec![0i64; tokens * k], vec![0f32; tokens * k]);
        for (row, (known, _)) in rows.iter().enumerate() {
            for (at, &(id, probability)) in known.iter().enumerate() {
                ids[row * k + at] = id as i64;
                probabilities[row * k + at] = probability as f32;
            }
        }
        let tail: Vec<f32> = rows.iter().map(|&(_, tail)| tail as f32).collect();
        Self {
            ids: Tensor::from_data(TensorData::new(ids, [tokens, k]), &device),
            probabilities: Tensor::from_data(TensorData::new(probabilities, [tokens, k]), &device),
            tail: Tensor::from_data(TensorData::new(tail, [tokens]), &device),
            temperature,
        }
    }

    /// The forward KL from what is known, at the temperature that it is known at.
    pub(crate) fn kl(self, student: Tensor<2>, weights: Tensor<1>) -> ValueAndGradient {
        let Self {
            ids,
            probabilities,
            tail,
            temperature,
        } = self;
        distily_kernels::sparse_kl(student, ids, probabilities, tail, weights, temperature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use distily_core::Seed;
    use distily_kernels::{Divergence, divergence, sparse_kl};

    const VOCABULARY: usize = 60;

    fn gradient(student: &Tensor<2>, teacher: TeacherTokens) -> Vec<f64> {
        let TeacherTokens::Sparse {
            ids,
            probabilities,
            tail,
            ..
        } = teacher
        else {
            unreachable!("both functions are sparse");
        };
        let one = Tensor::<1>::from_data([1.0], &Device::default());
        let result = sparse_kl(student.clone(), ids, probabilities, tail, one, 1.0);
        result.gradient.into_data().iter::<f64>().collect()
    }

    fn cosine(a: &[f64], b: &[f64]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    /// The mean gradient of many draws is that of the full KL; that of the likeliest ids alone,
    /// renormalised as truncation does, is not.
    #[test]
    fn random_sampling_is_unbiased_and_truncation_is_not() {
        let device = Device::default();
        // A flat teacher: its 12 likeliest ids hold less than half the mass.
        let row = |of: fn(f64) -> f64| {
            let values: Vec<f64> = (0..VOCABULARY).map(|id| of(id as f64)).collect();
            Tensor::<2>::from_data(TensorData::new(values, [1, VOCABULARY]), &device)
        };
        let teacher = row(|id| (id * 0.7).sin());
        let student = row(|id| (id * 0.7).sin() + 0.3 * (id * 1.3).cos());
        let one = Tensor::<1>::from_data([1.0], &device);
        let full = divergence(
            Divergence::ForwardKl,
            student.clone(),
            teacher.clone(),
            one,
            1.0,
        );
        let full: Vec<f64> = full.gradient.into_data().iter::<f64>().collect();

        let mut generator = Seed(3).generator("draws", 0);
        let mut mean = vec![0.0; VOCABULARY];
        const TIMES: usize = 20_000;
        for _ in 0..TIMES {
            let drawn = random_sample(teacher.clone(), 12, 1.0, &mut generator);
            for (mean, of) in mean.iter_mut().zip(gradient(&student, drawn)) {
                *mean += of / TIMES as f64;
            }
        }
        let sampled = cosine(&mean, &full);
        assert!(sampled > 0.99, "{sampled}");

        let TeacherTokens::Sparse {
            ids,
            probabilities,
            tail,
            temperature,
        } = top_k(teacher, 12, 1.0)
        else {
            unreachable!("it is sparse");
        };
        let kept = probabilities.clone().sum().into_scalar::<f32>();
        assert!(kept < 0.5, "{kept}");
        let renormalised = TeacherTokens::Sparse {
            ids,
            probabilities: probabilities.div_scalar(kept),
            tail: tail.zeros_like(),
            temperature,
        };
        let truncated = cosine(&gradient(&student, renormalised), &full);
        assert!(truncated < 0.8, "{truncated}");
    }
}
