use super::lanes::{exp, map_sum, sum, vectorized};
use super::over_tokens::over_tokens;
use super::tensors::{elements, slice};
use crate::ValueAndGradient;
use burn::tensor::Tensor;

pub(crate) fn uld(
    student: Tensor<2>,
    teacher: Tensor<2>,
    weights: Tensor<1>,
    temperature: f64,
) -> ValueAndGradient {
    let (shape @ [_, of_student], [_, of_teacher]) = (student.dims(), teacher.dims());
    let (student, teacher) = (elements(&student), elements(&teacher));
    let (student, teacher) = (slice(&student), slice(&teacher));
    let temperature = temperature as f32;
    over_tokens(
        shape,
        &weights,
        temperature,
        Scratch::default,
        |scratch, token, gradient| {
            let student = &student[token * of_student..(token + 1) * of_student];
            let teacher = &teacher[token * of_teacher..(token + 1) * of_teacher];
            of_row(student, teacher, 1.0 / temperature, scratch, gradient)
        },
    )
}

/// What a core keeps between tokens.
#[derive(Default)]
struct Scratch {
    /// The student's ids from the likeliest down, each below the key of its logit.
    ranked: Vec<u64>,
    /// The keys of the teacher's logits, sorted.
    keys: Vec<u32>,
    /// The student's probabilities by rank, not divided by their sum.
    q: Vec<f32>,
    /// The teacher's, then the slopes.
    p: Vec<f32>,
}

/// Fills the gradient with respect to the logits over T, and returns the value.
fn of_row(
    student: &[f32],
    teacher: &[f32],
    sharpness: f32,
    scratch: &mut Scratch,
    gradient: &mut [f32],
) -> f64 {
    let Scratch { ranked, keys, q, p } = scratch;
    ranked.clear();
    ranked.extend(
        (0..)
            .zip(student)
            .map(|(id, &logit)| u64::from(key(logit)) << 32 | id),
    );
    ranked.sort_unstable();
    keys.clear();
    keys.extend(teacher.iter().map(|&logit| key(logit)));
    keys.sort_unstable();
    let wide = student.len().max(teacher.len());
    let total_s = shares(
        ranked.iter().map(|&ranked| (ranked >> 32) as u32),
        sharpness,
        q,
        wide,
    );
    let total_t = shares(keys.iter().copied(), sharpness, p, wide);
    vectorized!({
        let (q, p) = (&q[..wide], &mut p[..wide]);
        let (share_s, share_t) = (1.0 / total_s, 1.0 / total_t);
        let value = map_sum(
            [q],
            [p],
            #[inline(always)]
            |[q], [p]| {
                let difference = q * share_s - p * share_t;
                let sign = f32::from(difference > 0.0) - f32::from(difference < 0.0);
                (difference.abs(), [q * share_s * sign])
            },
        );
        let slopes = sum(
            [p],
            #[inline(always)]
            |[slope]| slope,
        );
        for (rank, &ranked) in ranked.iter().enumerate() {
            gradient[ranked as u32 as usize] = p[rank] - q[rank] * share_s * slopes;
        }
        f64::from(value)
    })
}

/// Fills `out` with e^((logit - highest) / T) of sorted keys, then with zeros up to a width, and
/// returns their sum.
fn shares(
    keys: impl ExactSizeIterator<Item = u32>,
    sharpness: f32,
    out: &mut Vec<f32>,
    width: usize,
) -> f32 {
    let count = keys.len();
    out.clear();
    out.extend(keys.map(logit));
    out.resize(width, 0.0);
    vectorized!({
        let known = &mut out[..count];
        let highest = known.first().copied().unwrap_or(0.0);
        for logit in known.iter_mut() {
            *logit = exp((*logit - highest) * sharpness);
        }
        sum(
            [known],
            #[inline(always)]
            |[term]| term,
        )
    })
}

/// A number that is the smaller, the larger the logit: integers sort faster than floats.
fn key(logit: f32) -> u32 {
    let bits = logit.to_bits();
    if bits >> 31 == 0 {
        !bits ^ (1 << 31)
    } else {
        bits
    }
}

/// The logit of a key.
fn logit(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 0 {
        !key ^ (1 << 31)
    } else {
        key
    })
}
