use super::lanes::{exp, exponentials, ln, map_sum, sum, vectorized};
use super::over_tokens::over_tokens;
use super::tensors::{elements, slice};
use crate::ValueAndGradient;
use crate::divergence::formulas::{LARGEST_LOG, Mixed, Numbers};
use crate::divergence::{Divergence, Formula, LOWEST_LOG, Pair, with_formula};
use burn::tensor::Tensor;

impl Numbers for f32 {
    #[inline(always)]
    fn times(self, factor: f32) -> Self {
        self * factor
    }
    #[inline(always)]
    fn plus(self, summand: f32) -> Self {
        self + summand
    }
    #[inline(always)]
    fn exp(self) -> Self {
        exp(self.min(LARGEST_LOG))
    }
    #[inline(always)]
    fn ln(self) -> Self {
        ln(self)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f32::abs(self)
    }
    #[inline(always)]
    fn sign(self) -> Self {
        f32::from(self > 0.0) - f32::from(self < 0.0)
    }
    #[inline(always)]
    fn choose(self, positive: Self, other: Self) -> Self {
        if self > 0.0 { positive } else { other }
    }
}

pub(crate) fn divergence(
    divergence: Divergence,
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
) -> ValueAndGradient {
    let shape @ [_, vocabulary] = student.dims();
    let (student, teacher) = (elements(&student), elements(&teacher));
    let (student, teacher) = (slice(&student), slice(&teacher));
    let run = |of_row: &(dyn Fn(Row<'_>) -> f64 + Sync)| {
        over_tokens(
            shape,
            &weights,
            temperature as f32,
            || vec![0.0; vocabulary],
            |scratch, token, gradient| {
                let range = token * vocabulary..(token + 1) * vocabulary;
                of_row(Row {
                    student: &student[range.clone()],
                    teacher: &teacher[range],
                    sharpness: 1.0 / temperature as f32,
                    gradient,
                    scratch,
                })
            },
        )
    };
    with_formula!(
        divergence,
        vocabulary,
        formula => run(&|row| vectorized!(pointwise(formula, row))),
        match divergence {
            Divergence::AdaptiveKl { head_mass } => run(&|row| {
                let reverse_share = vectorized!(reverse_share(&row, head_mass as f32));
                let formula = Mixed(reverse_share);
                vectorized!(pointwise(formula, row))
            }),
            _ => run(&|row| vectorized!(squared_logits(row))),
        }
    )
}

/// One token.
struct Row<'a> {
    student: &'a [f32],
    teacher: &'a [f32],
    /// 1 / T.
    sharpness: f32,
    /// Becomes the gradient with respect to the student's logits over T.
    gradient: &'a mut [f32],
    scratch: &'a mut [f32],
}

/// The divergence of a token by a formula.
#[inline(always)]
fn pointwise(formula: impl Formula, row: Row<'_>) -> f64 {
    let (student, teacher) = (row.student, row.teacher);
    let (gradient, scratch) = (row.gradient, &mut row.scratch[..student.len()]);
    let (highest_s, total_s) = exponentials(student, row.sharpness, gradient);
    let (highest_t, total_t) = exponentials(teacher, row.sharpness, scratch);
    let (share_s, share_t) = (1.0 / total_s, 1.0 / total_t);
    let (log_s, log_t) = (total_s.ln(), total_t.ln());
    let value = map_sum(
        [student, teacher],
        [gradient, scratch],
        #[inline(always)]
        |[student, teacher], [of_student, of_teacher]| {
            let q = of_student * share_s;
            let [summand, slope] = formula.at(Pair {
                p: of_teacher * share_t,
                q,
                log_p: log_share((teacher - highest_t) * row.sharpness, log_t),
                log_q: log_share((student - highest_s) * row.sharpness, log_s),
            });
            (summand, [q, slope])
        },
    );
    let slopes = sum(
        [scratch],
        #[inline(always)]
        |[slope]| slope,
    );
    for (gradient, slope) in gradient.iter_mut().zip(scratch) {
        *gradient = *slope - *gradient * slopes;
    }
    f64::from(value)
}

/// The logarithm of an exponential's share of all, which is finite.
#[inline(always)]
fn log_share(log: f32, log_total: f32) -> f32 {
    (log - log_total).max(LOWEST_LOG)
}

/// How far p and q are apart in the teacher's tail, as a share of all.
#[inline(always)]
fn reverse_share(row: &Row<'_>, head_mass: f32) -> f32 {
    let len = row.student.len();
    let (mut p, mut q) = (vec![0.0; len], vec![0.0; len]);
    let (_, total_s) = exponentials(row.student, row.sharpness, &mut q);
    let (_, total_t) = exponentials(row.teacher, row.sharpness, &mut p);
    let mut ids: Vec<usize> = (0..len).collect();
    ids.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
    let (mut before, mut head, mut all) = (0.0, 0.0, 0.0);
    for id in ids {
        let (p, q) = (p[id] / total_t, q[id] / total_s);
        let apart = (p - q).abs();
        all += apart;
        if before < head_mass {
            head += apart;
        }
        before += p;
    }
    if all > 0.0 { (all - head) / all } else { 0.5 }
}

/// The mean squared difference of the logits over T.
#[inline(always)]
fn squared_logits(row: Row<'_>) -> f64 {
    let len = row.student.len() as f32;
    let value = map_sum(
        [row.student, row.teacher],
        [row.gradient],
        #[inline(always)]
        |[student, teacher], _| {
            let difference = (student - teacher) * row.sharpness;
            (difference * difference, [2.0 / len * difference])
        },
    );
    f64::from(value / len)
}
