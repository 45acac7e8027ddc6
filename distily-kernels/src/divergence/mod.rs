pub(crate) mod formulas;

use crate::{ValueAndGradient, in_format_of, widened};
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
pub(crate) use formulas::{Formula, Pair};

/// How far a student's next-token distribution q is from a teacher's p; per token, over the
/// vocabulary.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Divergence {
    /// KL(p ‖ q) = Σ p (log p - log q) (Hinton et al., 1503.02531).
    ForwardKl,
    /// KL(q ‖ p) = Σ q (log q - log p) (MiniLLM, 2306.08543).
    ReverseKl,
    /// -Σ p log q: forward KL and the entropy of p.
    SoftCrossEntropy,
    /// share · reverse KL + (1 - share) · forward KL (BitDistiller's CAKLD, 2402.10631, in which the
    /// share is the teacher's mean probability of the label).
    MixedKl {
        /// The share of the reverse KL, 0 to 1.
        reverse_share: f64,
    },
    /// β KL(p ‖ m) + (1 - β) KL(q ‖ m) with m = β p + (1 - β) q (GKD, 2306.13649). At the ends, where
    /// the formula is 0, it is what it tends to: forward KL at 0 and reverse KL at 1.
    JensenShannon {
        /// β, 0 to 1.
        beta: f64,
    },
    /// KL(p ‖ α p + (1 - α) q) (DistiLLM, 2402.03898).
    SkewKl {
        /// α, at least 0 and less than 1.
        alpha: f64,
    },
    /// KL(q ‖ (1 - α) p + α q) (DistiLLM, 2402.03898).
    SkewReverseKl {
        /// α, at least 0 and less than 1.
        alpha: f64,
    },
    /// The forward and the reverse KL, weighted by how far p and q are apart over the teacher's head
    /// (the likeliest ids up to a mass) and over its tail (2404.02657). No gradient flows through
    /// the two weights; where p and q are equal they are halves.
    AdaptiveKl {
        /// The mass of the head, 0 to 1; the paper's is 0.5.
        head_mass: f64,
    },
    /// ½ Σ |p - q|.
    TotalVariation,
    /// -1/(αβ) Σ (p^α q^β - α/(α+β) p^(α+β) - β/(α+β) q^(α+β)), and its limits where α, β or their
    /// sum is 0 (ABKD, 2505.04560): forward KL at (1, 0), reverse KL at (0, 1).
    AlphaBeta {
        /// α.
        alpha: f64,
        /// β.
        beta: f64,
    },
    /// The mean over the vocabulary of (p - q)².
    ProbabilitiesMse,
    /// The mean over the vocabulary of the squared difference of the logits, over the temperature.
    LogitsMse,
}

/// The logarithm of a probability is at least this, so that what a mask of -inf hides is finite.
pub(crate) const LOWEST_LOG: f32 = -1e5;

/// Runs an expression with the formula of a divergence that has one.
macro_rules! with_formula {
    ($divergence:expr, $vocabulary:expr, $formula:ident => $run:expr, $otherwise:expr) => {{
        use $crate::divergence::formulas as f;
        match $divergence {
            Divergence::ForwardKl => {
                let $formula = f::ForwardKl;
                $run
            }
            Divergence::ReverseKl => {
                let $formula = f::ReverseKl;
                $run
            }
            Divergence::SoftCrossEntropy => {
                let $formula = f::SoftCrossEntropy;
                $run
            }
            Divergence::MixedKl { reverse_share } => {
                let $formula = f::Mixed(reverse_share as f32);
                $run
            }
            Divergence::JensenShannon { beta: 0.0 } => {
                let $formula = f::ForwardKl;
                $run
            }
            Divergence::JensenShannon { beta: 1.0 } => {
                let $formula = f::ReverseKl;
                $run
            }
            Divergence::JensenShannon { beta } => {
                let $formula = f::JensenShannon(beta as f32);
                $run
            }
            Divergence::SkewKl { alpha } => {
                let $formula = f::SkewKl(alpha as f32);
                $run
            }
            Divergence::SkewReverseKl { alpha } => {
                let $formula = f::SkewReverseKl(alpha as f32);
                $run
            }
            Divergence::TotalVariation => {
                let $formula = f::TotalVariation;
                $run
            }
            Divergence::AlphaBeta { alpha, beta } => {
                let $formula = f::AlphaBeta(alpha as f32, beta as f32);
                $run
            }
            Divergence::ProbabilitiesMse => {
                let $formula = f::SquaredDifference($vocabulary as f32);
                $run
            }
            Divergence::AdaptiveKl { .. } | Divergence::LogitsMse => $otherwise,
        }
    }};
}
#[cfg(feature = "flex")]
pub(crate) use with_formula;

/// A divergence between next-token distributions: Σ_tokens weight · T² · D(p, q), where p and q are
/// the softmax of the teacher's and the student's logits over the temperature T, and its gradient
/// with respect to the student's logits. The factor T² keeps the gradient's size (Hinton et al.,
/// 1503.02531, section 2).
///
/// Shapes: `student` and `teacher` `[tokens, vocabulary]`, `weights` `[tokens]`. A token of weight
/// 0 contributes nothing, whatever its logits are. A logit of -inf is a probability of 0, whose
/// logarithm counts as -1e5.
///
/// # Panics
///
/// If the shapes differ.
pub fn divergence(
    divergence: Divergence,
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
) -> ValueAndGradient {
    assert_eq!(student.dims(), teacher.dims(), "the logits' shapes differ");
    assert_eq!(weights.dims()[0], student.dims()[0], "one weight a token");
    let student = widened(student.without_autodiff());
    let teacher = in_format_of(teacher.without_autodiff(), &student);
    let weights = in_format_of(weights.without_autodiff(), &student);
    #[cfg(feature = "flex")]
    if crate::native::serves(&student) {
        return crate::native::divergence(divergence, student, teacher, weights, temperature);
    }
    composed(divergence, student, teacher, weights, temperature)
}

fn composed(
    divergence: Divergence,
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
) -> ValueAndGradient {
    let [_, vocabulary] = student.dims();
    let scaled = |logits: Tensor<2>| logits.div_scalar(temperature);
    let (student, teacher) = (scaled(student), scaled(teacher));
    let masked = weights.clone().equal_scalar(0.0).unsqueeze_dim::<2>(1);
    let everywhere = masked.clone().expand(student.shape());
    let weights = weights.unsqueeze_dim::<2>(1);
    let squared = temperature * temperature;
    let finish = |rows: Tensor<2>, gradient: Tensor<2>| ValueAndGradient {
        value: (rows * weights.clone().mul_scalar(squared))
            .mask_fill(masked.clone(), 0.0)
            .sum(),
        gradient: (gradient * weights.clone().mul_scalar(temperature))
            .mask_fill(everywhere.clone(), 0.0),
    };
    if divergence == Divergence::LogitsMse {
        let difference = student - teacher;
        let rows = difference.clone().square().mean_dim(1);
        return finish(rows, difference.mul_scalar(2.0 / vocabulary as f64));
    }
    let pair = Pair::of(student, teacher);
    with_formula!(
        divergence,
        vocabulary,
        formula => {
            let (rows, gradient) = rows_of(formula, pair);
            finish(rows, gradient)
        },
        {
            let Divergence::AdaptiveKl { head_mass } = divergence else {
                unreachable!("the others have formulas");
            };
            let reverse_share = reverse_share(&pair, head_mass);
            let (forward, forward_gradient) = rows_of(formulas::ForwardKl, pair.clone());
            let (reverse, reverse_gradient) = rows_of(formulas::ReverseKl, pair);
            let mix = |forward: Tensor<2>, reverse: Tensor<2>| {
                forward.clone() + (reverse - forward) * reverse_share.clone()
            };
            finish(mix(forward, reverse), mix(forward_gradient, reverse_gradient))
        }
    )
}

impl Pair<Tensor<2>> {
    /// Of logits that are divided by the temperature.
    fn of(student: Tensor<2>, teacher: Tensor<2>) -> Self {
        let log = |logits| log_softmax(logits, 1).clamp_min(LOWEST_LOG);
        let (log_p, log_q) = (log(teacher), log(student));
        Self {
            p: Tensor::exp(log_p.clone()),
            q: Tensor::exp(log_q.clone()),
            log_p,
            log_q,
        }
    }
}

/// The divergence of each token, `[tokens, 1]`, and its gradient.
fn rows_of(formula: impl Formula, pair: Pair<Tensor<2>>) -> (Tensor<2>, Tensor<2>) {
    let q = pair.q.clone();
    let [summands, slopes] = formula.at(pair);
    let gradient = slopes.clone() - q * slopes.sum_dim(1);
    (summands.sum_dim(1), gradient)
}

/// The share of the reverse KL for each token, `[tokens, 1]`: how far p and q are apart in the
/// teacher's tail.
fn reverse_share(pair: &Pair<Tensor<2>>, head_mass: f64) -> Tensor<2> {
    let (sorted, ids) = pair.p.clone().sort_descending_with_indices(1);
    // An id is in the head if those before it do not reach the mass.
    let before = sorted.clone().cumsum(1) - sorted;
    let tail = in_format_of(
        before.clone().greater_equal_scalar(head_mass).float(),
        &before,
    );
    let apart = (pair.p.clone() - pair.q.clone()).abs().gather(1, ids);
    let in_tail = (apart.clone() * tail).sum_dim(1);
    let all = apart.sum_dim(1);
    // Without any difference the share is a half.
    let none = all.clone().lower_equal_scalar(0.0);
    (in_tail / all.mask_fill(none.clone(), 1.0)).mask_fill(none, 0.5)
}

#[cfg(test)]
mod tests;
