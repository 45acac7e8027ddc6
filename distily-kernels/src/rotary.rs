use crate::in_format_of;
use burn::tensor::Tensor;

/// Rotary position embedding: of the first 2n elements of a head, each pair (x_i, x_{i + n}) is
/// turned by its angle (Su et al., 2104.09864, in the half-split order of Hugging Face's models);
/// the others stay as they are.
///
/// Shapes: `x` `[batch, seq, heads, head_width]`; `cos` and `sin` of the angles `[batch, seq, n]`,
/// or `[1, seq, n]` where all rows share them, 2n <= head_width; the result is as `x`. The angles
/// are constants.
///
/// # Panics
///
/// If the shapes do not fit.
pub fn rotary(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    let [batch, seq, _, width] = x.dims();
    let [rows, tokens, half] = cos.dims();
    assert_eq!(cos.dims(), sin.dims(), "cos and sin differ");
    assert!(2 * half <= width, "the angles do not fit the head");
    assert!(
        tokens == seq && (rows == 1 || rows == batch),
        "the angles do not fit the tokens"
    );
    let (cos, sin) = (in_format_of(cos, &x), in_format_of(sin, &x));
    #[cfg(feature = "flex")]
    if crate::native::serves(&x) {
        return crate::native::rotary(x, cos, sin);
    }
    composed(x, cos, sin)
}

fn composed(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    let half = cos.dims()[2];
    let rest = x.dims()[3] - 2 * half;
    let (cos, sin) = (cos.unsqueeze_dim::<4>(2), sin.unsqueeze_dim::<4>(2));
    let first = x.clone().narrow(3, 0, half);
    let second = x.clone().narrow(3, half, half);
    let mut parts = vec![
        first.clone() * cos.clone() - second.clone() * sin.clone(),
        second * cos + first * sin,
    ];
    if rest > 0 {
        parts.push(x.narrow(3, 2 * half, rest));
    }
    Tensor::cat(parts, 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, leaf};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_agree(
            batch in 1usize..4, seq in 1usize..9, heads in 1usize..4, half in 1usize..12,
            rest in 0usize..6,            shared in any::<bool>(), seed in any::<u64>(),
        ) {
            let x = leaf([batch, seq, heads, 2 * half + rest], seed, 3.0);
            let angles = leaf([if shared { 1 } else { batch }, seq, half], seed ^ 1, 9.0).detach();
            let (cos, sin) = (angles.clone().cos(), angles.sin());
            let mix = leaf([batch, seq, heads, 2 * half + rest], seed ^ 2, 1.0).detach();
            let [native, composed] = [rotary, composed].map(|form| {
                let out = form(x.clone(), cos.clone(), sin.clone());
                let gradients = (out.clone() * mix.clone()).sum().backward();
                (out, x.grad(&gradients).unwrap())
            });
            assert_close(native.0.into_data(), composed.0.into_data(), 1.0);
            assert_close(native.1.into_data(), composed.1.into_data(), 1.0);
        }
    }
}
