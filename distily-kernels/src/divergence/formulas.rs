//! Each divergence as what it adds up for one token id, written once for numbers and for tensors.
//!
//! With l the summand of a divergence and q the student's probability, the derivative with respect
//! to a logit z_j is s_j - q_j Σ s_i, where the slope s_i = q_i ∂l/∂q_i. Adding a multiple of q to
//! all slopes changes nothing, so they are written such that each is exactly 0 where p and q are the
//! same bits: a student that is its teacher must stay as it is, and an optimizer like Adam blows the
//! smallest rounding error up to a whole step.

use burn::tensor::Tensor;
use std::ops::{Add, Mul, Neg, Sub};

/// Where a divergence is infinite, its terms are e to this at most: large, but their sum is finite.
pub(crate) const LARGEST_LOG: f32 = 60.0;

/// f32, or a tensor of them.
pub(crate) trait Numbers:
    Clone + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Neg<Output = Self>
{
    fn times(self, factor: f32) -> Self;
    fn plus(self, summand: f32) -> Self;
    fn exp(self) -> Self;
    /// Of positive numbers.
    fn ln(self) -> Self;
    fn abs(self) -> Self;
    fn sign(self) -> Self;
    /// `positive` where this is above 0, else `other`.
    fn choose(self, positive: Self, other: Self) -> Self;
}

impl Numbers for Tensor<2> {
    fn times(self, factor: f32) -> Self {
        self.mul_scalar(factor)
    }
    fn plus(self, summand: f32) -> Self {
        self.add_scalar(summand)
    }
    fn exp(self) -> Self {
        Tensor::exp(self.clamp_max(LARGEST_LOG))
    }
    fn ln(self) -> Self {
        self.log()
    }
    fn abs(self) -> Self {
        Tensor::abs(self)
    }
    fn sign(self) -> Self {
        Tensor::sign(self)
    }
    fn choose(self, positive: Self, other: Self) -> Self {
        other.mask_where(self.greater_scalar(0.0), positive)
    }
}

/// The probabilities of one id by teacher (p) and student (q), and their logarithms, which are
/// finite.
#[derive(Clone)]
pub(crate) struct Pair<N> {
    pub(crate) p: N,
    pub(crate) q: N,
    pub(crate) log_p: N,
    pub(crate) log_q: N,
}

/// The summand of a divergence and its slope.
pub(crate) trait Formula: Copy + Send + Sync {
    fn at<N: Numbers>(self, pair: Pair<N>) -> [N; 2];
}

#[derive(Clone, Copy)]
pub(crate) struct ForwardKl;
#[derive(Clone, Copy)]
pub(crate) struct ReverseKl;
#[derive(Clone, Copy)]
pub(crate) struct SoftCrossEntropy;
/// γ · reverse KL + (1 - γ) · forward KL.
#[derive(Clone, Copy)]
pub(crate) struct Mixed(pub(crate) f32);
#[derive(Clone, Copy)]
pub(crate) struct JensenShannon(pub(crate) f32);
#[derive(Clone, Copy)]
pub(crate) struct SkewKl(pub(crate) f32);
#[derive(Clone, Copy)]
pub(crate) struct SkewReverseKl(pub(crate) f32);
#[derive(Clone, Copy)]
pub(crate) struct TotalVariation;
#[derive(Clone, Copy)]
pub(crate) struct AlphaBeta(pub(crate) f32, pub(crate) f32);
/// The squared difference of the probabilities over the vocabulary's size.
#[derive(Clone, Copy)]
pub(crate) struct SquaredDifference(pub(crate) f32);

impl Formula for ForwardKl {
    #[inline(always)]
    fn at<N: Numbers>(self, Pair { p, q, log_p, log_q }: Pair<N>) -> [N; 2] {
        [p.clone() * (log_p - log_q), q - p]
    }
}

impl Formula for ReverseKl {
    #[inline(always)]
    fn at<N: Numbers>(
        self,
        Pair {
            q, log_p, log_q, ..
        }: Pair<N>,
    ) -> [N; 2] {
        let summand = q * (log_q - log_p);
        [summand.clone(), summand]
    }
}

impl Formula for SoftCrossEntropy {
    #[inline(always)]
    fn at<N: Numbers>(self, Pair { p, q, log_q, .. }: Pair<N>) -> [N; 2] {
        [-(p.clone() * log_q), q - p]
    }
}

impl Formula for Mixed {
    #[inline(always)]
    fn at<N: Numbers>(self, pair: Pair<N>) -> [N; 2] {
        let [reverse, reverse_slope] = ReverseKl.at(pair.clone());
        let [forward, forward_slope] = ForwardKl.at(pair);
        let mix = |reverse: N, forward: N| reverse.times(self.0) + forward.times(1.0 - self.0);
        [mix(reverse, forward), mix(reverse_slope, forward_slope)]
    }
}

/// log(m / q) for the mixture m = share · p + (1 - share) · q: 0 where p and q are the same bits.
#[inline(always)]
fn log_mixture<N: Numbers>(share: f32, log_ratio: N) -> N {
    // By the ratio that is at most 1, so that nothing overflows.
    let less = log_ratio.clone().abs().times(-1.0).exp().plus(-1.0);
    let above = less.clone().times(1.0 - share).plus(1.0).ln() + log_ratio.clone();
    let below = less.times(share).plus(1.0).ln();
    log_ratio.choose(above, below)
}

impl Formula for JensenShannon {
    #[inline(always)]
    fn at<N: Numbers>(self, Pair { p, q, log_p, log_q }: Pair<N>) -> [N; 2] {
        let beta = self.0;
        let log_ratio = log_p - log_q;
        let log_m = log_mixture(beta, log_ratio.clone());
        let of_q = (q * log_m.clone()).times(beta - 1.0);
        let of_p = (p * (log_ratio - log_m)).times(beta);
        [of_p + of_q.clone(), of_q]
    }
}

impl Formula for SkewKl {
    #[inline(always)]
    fn at<N: Numbers>(self, Pair { p, q, log_p, log_q }: Pair<N>) -> [N; 2] {
        let log_ratio = log_p - log_q;
        let p_to_m = log_ratio.clone() - log_mixture(self.0, log_ratio);
        let slope = q * p_to_m.clone().exp().plus(-1.0).times(self.0 - 1.0);
        [p * p_to_m, slope]
    }
}

impl Formula for SkewReverseKl {
    #[inline(always)]
    fn at<N: Numbers>(
        self,
        Pair {
            q, log_p, log_q, ..
        }: Pair<N>,
    ) -> [N; 2] {
        let alpha = self.0;
        let q_to_m = -log_mixture(1.0 - alpha, log_p - log_q);
        let more = q_to_m.clone().exp().plus(-1.0).times(alpha);
        [q.clone() * q_to_m.clone(), q * (q_to_m - more)]
    }
}

impl Formula for TotalVariation {
    #[inline(always)]
    fn at<N: Numbers>(self, Pair { p, q, .. }: Pair<N>) -> [N; 2] {
        let difference = q.clone() - p;
        [
            difference.clone().abs().times(0.5),
            (q * difference.sign()).times(0.5),
        ]
    }
}

impl Formula for AlphaBeta {
    #[inline(always)]
    fn at<N: Numbers>(self, Pair { log_p, log_q, .. }: Pair<N>) -> [N; 2] {
        let Self(a, b) = self;
        let log_ratio = log_p.clone() - log_q.clone();
        // q^(a+b) and p^a q^b; the second by the ratio, so that it is the first for equals.
        let base = log_q.clone().times(a + b);
        let of_q = base.clone().exp();
        let mixed = (base + log_ratio.clone().times(a)).exp();
        let slope = if a == 0.0 {
            -(of_q.clone() * log_ratio.clone())
        } else {
            (of_q.clone() - mixed.clone()).times(1.0 / a)
        };
        let of_p = log_p.times(a + b).exp();
        let summand = if a == 0.0 && b == 0.0 {
            (log_ratio.clone() * log_ratio).times(0.5)
        } else if a == 0.0 {
            ((of_p - of_q.clone()).times(1.0 / b) - of_q * log_ratio).times(1.0 / b)
        } else if b == 0.0 {
            (of_p.clone() * log_ratio + (of_q - of_p).times(1.0 / a)).times(1.0 / a)
        } else if a + b == 0.0 {
            (mixed.plus(-1.0) - log_ratio.times(a)).times(1.0 / (a * a))
        } else {
            let rest = of_p.times(a / (a + b)) + of_q.times(b / (a + b));
            (rest - mixed).times(1.0 / (a * b))
        };
        [summand, slope]
    }
}

impl Formula for SquaredDifference {
    #[inline(always)]
    fn at<N: Numbers>(self, Pair { p, q, .. }: Pair<N>) -> [N; 2] {
        let difference = q.clone() - p;
        let summand = (difference.clone() * difference.clone()).times(1.0 / self.0);
        [summand, (q * difference).times(2.0 / self.0)]
    }
}
