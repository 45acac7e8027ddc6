use crate::in_format_of;
use burn::tensor::Tensor;
use burn::tensor::activation::silu;

/// The gated activation of Llama's feed-forward block: silu(gate) · up, silu(x) = x · sigmoid(x)
/// (Shazeer, 2002.05202).
///
/// Shapes: `gate` and `up` `[..]`, the same; so is the result.
///
/// # Panics
///
/// If the shapes differ.
pub fn silu_gate<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    assert_eq!(gate.dims(), up.dims(), "the shapes of gate and up differ");
    let up = in_format_of(up, &gate);
    #[cfg(feature = "flex")]
    if crate::native::serves(&gate) {
        return crate::native::silu_gate(gate, up);
    }
    composed(gate, up)
}

fn composed<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    silu(gate) * up
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, leaf};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_agree(n in 1usize..200, seed in any::<u64>(), scale in 0.1f32..100.0) {
            let (gate, up) = (leaf([1, n], seed, scale), leaf([1, n], seed ^ 1, scale));
            let mix = leaf([1, n], seed ^ 2, 1.0).detach();
            let results = [silu_gate, composed].map(|form| {
                let out = form(gate.clone(), up.clone());
                let gradients = (out.clone() * mix.clone()).sum().backward();
                (out, gate.grad(&gradients).unwrap(), up.grad(&gradients).unwrap())
            });
            let [native, composed] = results;
            assert_close(native.0.into_data(), composed.0.into_data(), 1.0);
            assert_close(native.1.into_data(), composed.1.into_data(), 1.0);
            assert_close(native.2.into_data(), composed.2.into_data(), 1.0);
        }
    }
}
