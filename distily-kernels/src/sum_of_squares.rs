use crate::widened;
use burn::tensor::Tensor;

/// Σ x², in f64: of a gradient whose norm is out of f32's range, too.
pub fn sum_of_squares<const D: usize>(x: &Tensor<D>) -> f64 {
    #[cfg(feature = "flex")]
    if crate::native::serves(x) {
        return crate::native::sum_of_squares(x);
    }
    composed(x)
}

fn composed<const D: usize>(x: &Tensor<D>) -> f64 {
    let x = widened(x.clone()).without_autodiff();
    let scalar = |x: Tensor<1>| x.into_data().iter::<f64>().sum::<f64>();
    let largest = scalar(x.clone().abs().max());
    if largest == 0.0 {
        return 0.0;
    }
    // Relative to the largest, no square is out of range.
    largest * largest * scalar(x.div_scalar(largest).square().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::logits;
    use burn::tensor::{Device, FloatDType};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_agree(
            rows in 1usize..9, columns in 1usize..3000, seed in any::<u64>(), exponent in -30i32..36,
        ) {
            let x = logits([rows, columns], seed, 10f32.powi(exponent));
            let [native, composed] = [sum_of_squares, composed].map(|form| form(&x));
            prop_assert!((native - composed).abs() <= 1e-5 * composed, "{native} and {composed}");
        }
    }

    #[test]
    fn half_precision_and_zeros_are_summed_too() {
        let x = Tensor::<1>::full([20_000], 1e-4, &Device::flex());
        let squares = sum_of_squares(&x.cast(FloatDType::F16));
        assert!((squares - 2e-4).abs() < 1e-6, "{squares}");
        let zeros = Tensor::<1>::zeros([3], &Device::flex());
        assert_eq!([sum_of_squares(&zeros), composed(&zeros)], [0.0; 2]);
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for x in [f32::NAN, f32::INFINITY] {
            let x = Tensor::<1>::from_data([1.0, x], &Device::flex());
            assert!(
                [sum_of_squares, composed]
                    .iter()
                    .all(|form| !form(&x).is_finite())
            );
        }
    }
}
