//! Element-wise mathematics that compilers turn into vector instructions.
//!
//! Rust compiles for the oldest processor of a family; `vectorized!` runs an expression compiled for
//! the one at hand. All that it calls must be `#[inline(always)]`: the rest stays compiled for the
//! oldest. Sums keep [`LANES`] partial sums, because a compiler may not reorder
//! additions of floats by itself.

/// Independent partial results of a reduction.
const LANES: usize = 64;

/// Runs an expression, compiled for AVX-512, or AVX2 and FMA, where the processor has them. A macro, as the
/// closure must be inlined, too.
macro_rules! vectorized {
    ($work:expr) => {
        $crate::native::lanes::run_vectorized(
            #[inline(always)]
            || $work,
        )
    };
}
pub(super) use vectorized;

#[inline(always)]
pub(super) fn run_vectorized<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the features that the function is compiled for.
            #[allow(unsafe_code)]
            return unsafe { with_avx512(f) };
        }
        // SAFETY: as before.
        #[allow(unsafe_code)]
        return unsafe { with_avx2(f) };
    }
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn with_avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(f: impl FnOnce() -> R) -> R {
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

/// Σ `f`(the elements at a place) over slices of one length.
#[inline(always)]
pub(super) fn sum<const K: usize>(inputs: [&[f32]; K], f: impl Fn([f32; K]) -> f32) -> f32 {
    map_sum(
        inputs,
        [],
        #[inline(always)]
        |inputs, []| (f(inputs), []),
    )
}

/// The same, where `f` also has the elements of `outputs`, and says what to put in their place.
#[inline(always)]
pub(super) fn map_sum<const K: usize, const M: usize>(
    inputs: [&[f32]; K],
    outputs: [&mut [f32]; M],
    f: impl Fn([f32; K], [f32; M]) -> (f32, [f32; M]),
) -> f32 {
    reduce(
        inputs,
        outputs,
        0.0,
        f,
        #[inline(always)]
        |a, b| a + b,
    )
}

/// The largest element; -inf without any.
#[inline(always)]
pub(super) fn max(values: &[f32]) -> f32 {
    reduce(
        [values],
        [],
        f32::NEG_INFINITY,
        #[inline(always)]
        |[value], []| (value, []),
        f32::max,
    )
}

/// The highest logit, and the sum of e^((logit - highest) · sharpness), whose terms go to `out`.
#[inline(always)]
pub(super) fn exponentials(logits: &[f32], sharpness: f32, out: &mut [f32]) -> (f32, f32) {
    let highest = max(logits);
    let total = map_sum(
        [logits],
        [out],
        #[inline(always)]
        |[logit], _| {
            let term = exp((logit - highest) * sharpness);
            (term, [term])
        },
    );
    (highest, total)
}

/// Partial results, two halves at a time.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = combine(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn reduce<const K: usize, const M: usize>(
    inputs: [&[f32]; K],
    outputs: [&mut [f32]; M],
    identity: f32,
    f: impl Fn([f32; K], [f32; M]) -> (f32, [f32; M]),
    combine: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [identity; LANES];
    // In smaller blocks, too: one by one, the rest of a short row would take longer than all before it.
    let (inputs, outputs) = blocks::<LANES, K, M>(inputs, outputs, &mut lanes, &f, &combine);
    let (inputs, outputs) =
        blocks::<{ LANES / 4 }, K, M>(inputs, outputs, &mut lanes, &f, &combine);
    blocks::<1, K, M>(inputs, outputs, &mut lanes, &f, &combine);
    fold(lanes, combine)
}

/// Reduces the slices but for what is left of them after whole blocks of N, which it returns. By arrays,
/// because an index that the compiler has to check is several times slower.
#[inline(always)]
fn blocks<'a, const N: usize, const K: usize, const M: usize>(
    inputs: [&'a [f32]; K],
    outputs: [&'a mut [f32]; M],
    lanes: &mut [f32; LANES],
    f: &impl Fn([f32; K], [f32; M]) -> (f32, [f32; M]),
    combine: &impl Fn(f32, f32) -> f32,
) -> ([&'a [f32]; K], [&'a mut [f32]; M]) {
    let inputs = inputs.map(<[f32]>::as_chunks::<N>);
    let mut outputs = outputs.map(<[f32]>::as_chunks_mut::<N>);
    for block in 0..inputs[0].0.len() {
        let of_inputs = inputs.map(|(blocks, _)| &blocks[block]);
        let mut of_outputs = outputs.each_mut().map(|(blocks, _)| &mut blocks[block]);
        for lane in 0..N {
            let before = of_outputs.each_ref().map(|output| output[lane]);
            let (value, after) = f(of_inputs.map(|input| input[lane]), before);
            lanes[lane] = combine(lanes[lane], value);
            for (output, after) in of_outputs.iter_mut().zip(after) {
                output[lane] = after;
            }
        }
    }
    (inputs.map(|(_, rest)| rest), outputs.map(|(_, rest)| rest))
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
        for len in 0..200usize {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let total = (len * len.saturating_sub(1) / 2) as f32;
            assert_eq!(sum([&values], |[value]| value), total);
            assert_eq!(
                max(&values),
                values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
            );
            let mut doubled = vec![1.0; len];
            let all = map_sum([&values], [&mut doubled], |[x], [y]| (y, [2.0 * x]));
            assert_eq!(all, len as f32);
            assert!(doubled.iter().zip(&values).all(|(y, x)| *y == 2.0 * x));
        }
    }

    #[test]
    fn a_result_is_the_same_bits_on_any_processor() {
        let run = |f: &dyn Fn(&mut [f32]) -> (f32, f32)| {
            let mut terms = vec![0.0; 1000];
            let (highest, total) = f(&mut terms);
            terms.extend([highest, total]);
            terms
        };
        let logits: Vec<f32> = (0..1000)
            .map(|i| ((i * 7919) % 1009) as f32 / 50.0)
            .collect();
        #[inline(always)]
        fn work(logits: &[f32], out: &mut [f32]) -> (f32, f32) {
            let (highest, total) = exponentials(logits, 0.7, out);
            out.iter_mut().for_each(|term| *term = ln(*term));
            (highest, total)
        }
        let plain = run(&|out| work(&logits, out));
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the features.
            #[allow(unsafe_code)]
            let with_avx2 = run(&|out| unsafe {
                with_avx2(
                    #[inline(always)]
                    || work(&logits, out),
                )
            });
            assert_eq!(plain, with_avx2);
        }
        let best = run(&|out| vectorized!(work(&logits, out)));
        assert_eq!(plain, best);
    }
}
