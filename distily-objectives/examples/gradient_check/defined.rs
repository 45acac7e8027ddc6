//! The losses on the output distribution as their definitions say them, in burn's operations.

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{DType, Tensor, TensorData};
use distily_objectives::LossConfig;

/// A loss on the output distribution as its definition says it, in T² · the value of each token,
/// `[tokens, 1]`. What no gradient flows through is taken from the logits `at`.
pub(crate) fn defined(
    loss: &LossConfig,
    [student, at, teacher]: [Tensor<2>; 3],
    targets: &[usize],
    temperature: f64,
) -> Tensor<2> {
    let scaled = |logits: Tensor<2>| logits.div_scalar(temperature);
    let (log_p, log_q) = (
        log_softmax(scaled(teacher.clone()), 1),
        log_softmax(scaled(student.clone()), 1),
    );
    let (p, q) = (log_p.clone().exp(), log_q.clone().exp());
    let vocabulary = p.dims()[1] as f64;
    let sum = |x: Tensor<2>| x.sum_dim(1);
    let kl = |a: &Tensor<2>, log_a: &Tensor<2>, log_b: Tensor<2>| {
        sum(a.clone() * (log_a.clone() - log_b))
    };
    let forward = || kl(&p, &log_p, log_q.clone());
    let reverse = || kl(&q, &log_q, log_p.clone());
    let log_mixture =
        |of_p: f64| (p.clone().mul_scalar(of_p) + q.clone().mul_scalar(1.0 - of_p)).log();
    let value = match *loss {
        LossConfig::ForwardKl => forward(),
        LossConfig::ReverseKl => reverse(),
        LossConfig::SoftCrossEntropy => sum(p * log_q).neg(),
        LossConfig::MixedKl { reverse_share } => {
            reverse().mul_scalar(reverse_share) + forward().mul_scalar(1.0 - reverse_share)
        }
        LossConfig::JensenShannon { beta } => {
            let log_m = log_mixture(beta);
            kl(&p, &log_p, log_m.clone()).mul_scalar(beta)
                + kl(&q, &log_q, log_m).mul_scalar(1.0 - beta)
        }
        LossConfig::SkewKl { alpha } => kl(&p, &log_p, log_mixture(alpha)),
        LossConfig::SkewReverseKl { alpha } => kl(&q, &log_q, log_mixture(1.0 - alpha)),
        LossConfig::AdaptiveKl { head_mass } => {
            let share = tail_share(&p, &softmax(scaled(at), 1), head_mass);
            forward() * share.clone().neg().add_scalar(1.0) + reverse() * share
        }
        LossConfig::TotalVariation => sum((p - q).abs()).mul_scalar(0.5),
        LossConfig::AlphaBeta { alpha, beta } => {
            let all = alpha + beta;
            let power = |log: &Tensor<2>, by: f64| log.clone().mul_scalar(by).exp();
            let rest = power(&log_p, all).mul_scalar(alpha / all)
                + power(&log_q, all).mul_scalar(beta / all);
            let mixed = power(&log_p, alpha) * power(&log_q, beta);
            sum(rest - mixed).div_scalar(alpha * beta)
        }
        LossConfig::ProbabilitiesMse => sum((p - q).square()).div_scalar(vocabulary),
        LossConfig::LogitsMse => sum(scaled(student - teacher).square()).div_scalar(vocabulary),
        LossConfig::TopKKl { k } => {
            let kept = likeliest(&p, k);
            let rest = |x: &Tensor<2>| sum(x.clone() * kept.clone().neg().add_scalar(1.0));
            let of_rest = rest(&p) * (rest(&p).log() - rest(&q).log());
            sum(kept.clone() * p * (log_p - log_q)) + of_rest
        }
        LossConfig::Uld => {
            let sorted = |x: Tensor<2>| {
                let order = x.clone().without_autodiff().argsort_descending(1);
                x.gather(1, Tensor::from_inner(order))
            };
            sum((sorted(p) - sorted(q)).abs())
        }
        LossConfig::CrossEntropy => {
            let one_hot: Vec<f64> = targets
                .iter()
                .flat_map(|&target| (0..p.dims()[1]).map(move |id| f64::from(id == target)))
                .collect();
            let data = TensorData::new(one_hot, p.shape());
            sum(Tensor::<2>::from_data(data, (&p.device(), DType::F64)) * log_q).neg()
        }
        ref other => panic!("{} has no definition here", other.name()),
    };
    value.mul_scalar(temperature * temperature)
}

/// 1 where an id is among the `k` likeliest of its token, else 0.
fn likeliest(p: &Tensor<2>, k: usize) -> Tensor<2> {
    let [_, vocabulary] = p.dims();
    let kept: Vec<f64> = (p.to_data().iter::<f64>().collect::<Vec<_>>())
        .chunks(vocabulary)
        .flat_map(|row| {
            let above = |p: f64| row.iter().filter(|&&other| other > p).count();
            row.iter().map(move |&p| f64::from(above(p) < k))
        })
        .collect();
    Tensor::from_data(TensorData::new(kept, p.shape()), (&p.device(), DType::F64))
}

/// Adaptive KL's weight of the reverse KL, `[tokens, 1]`: how much of Σ |p - q| is beyond the head,
/// to which an id belongs if those above it do not reach the mass.
fn tail_share(p: &Tensor<2>, q: &Tensor<2>, head_mass: f64) -> Tensor<2> {
    let rows = |x: &Tensor<2>| x.to_data().iter::<f64>().collect::<Vec<_>>();
    let [tokens, vocabulary] = p.dims();
    let shares: Vec<f64> = rows(p)
        .chunks(vocabulary)
        .zip(rows(q).chunks(vocabulary))
        .map(|(p, q)| {
            let mut ids: Vec<usize> = (0..vocabulary).collect();
            ids.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
            let (mut mass, mut head, mut tail) = (0.0, 0.0, 0.0);
            for id in ids {
                let apart = (p[id] - q[id]).abs();
                *(if mass < head_mass {
                    &mut head
                } else {
                    &mut tail
                }) += apart;
                mass += p[id];
            }
            tail / (head + tail)
        })
        .collect();
    let data = TensorData::new(shares, [tokens, 1]);
    Tensor::from_data(data, (&p.device(), DType::F64))
}
