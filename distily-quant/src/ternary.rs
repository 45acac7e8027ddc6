use burn::tensor::Tensor;

/// The smallest scale: a weight of zeros stays finite.
const SMALLEST_SCALE: f64 = 1e-5;

/// A weight rounded to scale · {-1, 0, 1}, where the scale is its mean magnitude (absmean; Ma et
/// al., 2402.17764, equations 1 to 3). The gradient passes straight through to the weight (Bengio et
/// al., 1308.3432); the scale is a constant of it.
///
/// Shapes: the result is as `weight`.
pub fn ternary<const D: usize>(weight: Tensor<D>) -> Tensor<D> {
    let constant = weight.clone().detach();
    let scale = constant.clone().abs().mean().clamp_min(SMALLEST_SCALE);
    let scale = scale.reshape([1; D]);
    let rounded = (constant.clone() / scale.clone()).round().clamp(-1.0, 1.0) * scale;
    // The value is exactly `rounded`: adding `weight - constant`, zeros, brings the gradient only.
    rounded + (weight - constant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_has_three_values_and_passes_the_gradient(
            values in prop::collection::vec(-3f32..3.0, 1..40),
        ) {
            let device = Device::flex().autodiff();
            let count = values.len();
            let weight = Tensor::<1>::from_data(TensorData::new(values, [count]), &device);
            let weight = weight.require_grad();
            let quantised = ternary(weight.clone());
            let scale = weight.clone().abs().mean().clamp_min(SMALLEST_SCALE).into_scalar::<f32>();
            for value in quantised.to_data().iter::<f32>() {
                prop_assert!(value == 0.0 || (value.abs() - scale).abs() <= 1e-6 * scale);
            }
            let gradient = weight.grad(&quantised.mul_scalar(3.0).sum().backward()).unwrap();
            prop_assert!(gradient.into_data().iter::<f32>().all(|g| g == 3.0));
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        let zeros = Tensor::<2>::zeros([2, 2], &Device::flex());
        assert_eq!(ternary(zeros.clone()).into_data(), zeros.into_data());
    }
}
