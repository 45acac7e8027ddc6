//! Element-wise mathematics that compilers turn into vector instructions.
//!
//! Rust compiles for the oldest processor of a family; [`vectorized`] runs a closure compiled for
//! the one at hand. It and what it calls must be `#[inline(always)]` to be part of that. Sums keep
//! [`LANES`] partial sums, because a compiler may not reorder additions of floats by itself.

/// Independent partial results of a reduction.
pub(super) const LANES: usize = 64;

/// Runs `f`, compiled for AVX-512, or AVX2 and FMA, where the processor has them.
#[inline(always)]
pub(super) fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx2,fma")]
        fn with_avx512<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        #[target_feature(enable = "avx2,fma")]
        fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the features that the functions are compiled for.
            #[allow(unsafe_code)]
            return unsafe {
                if is_x86_feature_detected!("avx512f") {
                    with_avx512(f)
                } else {
                    with_avx2(f)
                }
            };
        }
    }
    f()
}

/// e^x to within 2 units in the last place; 0 below the normal range, NaN for NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.0;
    const HIGHEST: f32 = 88.0;
    // 1.5 · 2^23: adding it rounds to an integer, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, of which the first has few enough bits to be multiplied exactly.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(LOWEST, HIGHEST);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    let whole = shifted - ROUND;
    let r = (clamped - whole * LN_2_HIGH) - whole * LN_2_LOW;
    // Cephes' minimax polynomial for e^r on [-ln 2 / 2, ln 2 / 2].
    let mut p = 1.987_569_2e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let fraction = p * r * r + r + 1.0;
    let power = f32::from_bits(exponent.wrapping_add(127) << 23);
    if x < LOWEST { 0.0 } else { fraction * power }
}

/// ln x to within 2 units in the last place, of positive normal numbers; smaller ones, and those
/// that are not positive, count as the smallest.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const HALF_ROOT: u32 = 0x3f35_04f3; // sqrt(1/2)
    let bits = x.max(f32::MIN_POSITIVE).to_bits();
    // x = m 2^e with m in [sqrt(1/2), sqrt(2)).
    let shifted = bits.wrapping_sub(HALF_ROOT);
    let exponent = (shifted as i32 >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(HALF_ROOT)) - 1.0;
    // Cephes' polynomial for ln(1 + m).
    let mut p = 7.037_683_6e-2;
    p = p * m - 1.151_461e-1;
    p = p * m + 1.167_699_9e-1;
    p = p * m - 1.242_014_1e-1;
    p = p * m + 1.424_932_3e-1;
    p = p * m - 1.666_805_8e-1;
    p = p * m + 2.000_071_5e-1;
    p = p * m - 2.499_999_4e-1;
    p = p * m + 3.333_333e-1;
    let square = m * m;
    let tail = p * m * square + exponent * LN_2_LOW - 0.5 * square;
    m + tail + exponent * LN_2_HIGH
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Σ f(i) for i in 0..len.
#[inline(always)]
pub(super) fn sum(len: usize, f: impl FnMut(usize) -> f32) -> f32 {
    reduce(len, 0.0, f, |a, b| a + b)
}

/// The largest element; -inf without any.
#[inline(always)]
pub(super) fn max(values: &[f32]) -> f32 {
    reduce(values.len(), f32::NEG_INFINITY, |i| values[i], f32::max)
}

/// The highest logit, and the sum of e^((logit - highest) · sharpness), whose terms go to `out`.
#[inline(always)]
pub(super) fn exponentials(logits: &[f32], sharpness: f32, out: &mut [f32]) -> (f32, f32) {
    let (len, highest) = (logits.len(), max(logits));
    let out = &mut out[..len];
    for (out, &logit) in out.iter_mut().zip(logits) {
        *out = exp((logit - highest) * sharpness);
    }
    (highest, sum(len, |i| out[i]))
}

#[inline(always)]
fn reduce(
    len: usize,
    identity: f32,
    mut f: impl FnMut(usize) -> f32,
    combine: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [identity; LANES];
    let mut from = 0;
    // What is left of a short row would take longer by one than the row itself.
    for size in [LANES, LANES / 4] {
        let to = len - (len - from) % size;
        for start in (from..to).step_by(size) {
            for (lane, partial) in lanes[..size].iter_mut().enumerate() {
                *partial = combine(*partial, f(start + lane));
            }
        }
        from = to;
    }
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = combine(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    let mut result = lanes[0];
    for i in from..len {
        result = combine(result, f(i));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for step in -8_600_000..8_700_000 {
            let x = step as f32 * 1e-5;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.4e-7, "exp({x}) is off by {error}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(1e4).is_finite());
    }

    #[test]
    fn ln_is_within_two_units_in_the_last_place() {
        for step in 1..2_000_000 {
            for x in [
                step as f32 * 1e-6,
                step as f32 * 1e-3,
                (step as f32 * 1e-5).exp2(),
            ] {
                let exact = f64::from(x).ln();
                let error = (f64::from(ln(x)) - exact).abs();
                assert!(
                    error <= 2.4e-7 * exact.abs().max(1e-30) + 1e-45,
                    "ln({x}): {error}"
                );
            }
        }
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(ln(0.0), ln(f32::MIN_POSITIVE));
    }

    #[test]
    fn reductions_cover_every_length() {
        for len in 0..200 {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(
                sum(len, |i| values[i]),
                (len * len.saturating_sub(1) / 2) as f32
            );
            assert_eq!(
                max(&values),
                values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
            );
        }
    }
}
