use burn::tensor::{Int, Tensor, TensorData};
use distily_core::TeacherTokens;
use rand::{Rng, RngExt};

/// A teacher's `k` likeliest ids with their probabilities at a temperature, and the mass of all others.
///
/// Shapes: `logits` `[tokens, vocabulary]`; the ids `[tokens, k]`. Never renormalise them: see
/// [`sparse_kl`](distily_kernels::sparse_kl).
pub fn top_k(logits: Tensor<2>, k: usize, temperature: f64) -> TeacherTokens {
    sparse(logits, temperature, |probabilities| {
        let mut ids: Vec<usize> = (0..probabilities.len()).collect();
        let k = k.clamp(1, ids.len());
        ids.select_nth_unstable_by(k - 1, |&a, &b| {
            probabilities[b].total_cmp(&probabilities[a])
        });
        ids.truncate(k);
        let kept: Vec<(usize, f64)> = ids.into_iter().map(|id| (id, probabilities[id])).collect();
        let tail = 1.0 - kept.iter().map(|(_, p)| p).sum::<f64>();
        (kept, tail.max(0.0))
    })
}

/// Ids that are drawn from a teacher at a temperature, with their frequencies: a KL to them has, in the
/// mean, the gradient of the full one (random sampling KD, ACL 2025).
///
/// Shapes: `logits` `[tokens, vocabulary]`; the ids `[tokens, k]`, where k is the most different ids
/// that a token got.
pub fn random_sample(
    logits: Tensor<2>,
    draws: usize,
    temperature: f64,
    generator: &mut impl Rng,
) -> TeacherTokens {
    sparse(logits, temperature, |probabilities| {
        // Sorted uniform numbers meet the ids in one pass.
        let mut points: Vec<f64> = (0..draws).map(|_| generator.random()).collect();
        points.sort_unstable_by(f64::total_cmp);
        let mut kept: Vec<(usize, f64)> = Vec::new();
        let (mut id, mut reached) = (0, probabilities[0]);
        for point in points {
            while point >= reached && id + 1 < probabilities.len() {
                id += 1;
                reached += probabilities[id];
            }
            match kept.last_mut() {
                Some((last, share)) if *last == id => *share += 1.0 / draws as f64,
                _ => kept.push((id, 1.0 / draws as f64)),
            }
        }
        (kept, 0.0)
    })
}

/// What `choose` keeps of each row of probabilities: ids with their probabilities, and the tail.
fn sparse(
    logits: Tensor<2>,
    temperature: f64,
    mut choose: impl FnMut(&[f64]) -> (Vec<(usize, f64)>, f64),
) -> TeacherTokens {
    let device = logits.device().without_autodiff();
    let [tokens, vocabulary] = logits.dims();
    let values: Vec<f32> = logits.into_data().iter::<f32>().collect();
    let rows: Vec<(Vec<(usize, f64)>, f64)> = values
        .chunks_exact(vocabulary)
        .map(|logits| {
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weight = |&logit: &f32| (f64::from(logit - highest) / temperature).exp();
            let mut probabilities: Vec<f64> = logits.iter().map(weight).collect();
            let total: f64 = probabilities.iter().sum();
            probabilities.iter_mut().for_each(|p| *p /= total);
            choose(&probabilities)
        })
        .collect();
    let k = rows
        .iter()
        .map(|(kept, _)| kept.len())
        .max()
        .unwrap_or(0)
        .max(1);
    let (mut ids, mut probabilities) = (vec![0i64; tokens * k], vec![0f32; tokens * k]);
    for (row, (kept, _)) in rows.iter().enumerate() {
        for (at, &(id, probability)) in kept.iter().enumerate() {
            ids[row * k + at] = id as i64;
            probabilities[row * k + at] = probability as f32;
        }
    }
    let tail: Vec<f32> = rows.iter().map(|&(_, tail)| tail as f32).collect();
    TeacherTokens::Sparse {
        ids: Tensor::<2, Int>::from_data(TensorData::new(ids, [tokens, k]), &device),
        probabilities: Tensor::from_data(TensorData::new(probabilities, [tokens, k]), &device),
        tail: Tensor::from_data(TensorData::new(tail, [tokens]), &device),
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
        } = teacher
        else {
            unreachable!("both functions are sparse");
        };
        let one = Tensor::<1>::from_data([1.0], &Device::flex());
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
        let device = Device::flex();
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
        };
        let truncated = cosine(&gradient(&student, renormalised), &full);
        assert!(truncated < 0.8, "{truncated}");
    }
}
