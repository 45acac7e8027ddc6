use crate::in_format_of;
use burn::tensor::Tensor;

/// `value`, with a gradient that is already known: in the backward pass `x` receives `gradient`
/// times the scalar upstream gradient, and `value` keeps whatever graph it has.
///
/// This is how a loss whose closed-form gradient was taken in the forward pass enters the graph:
/// nothing of the computation is kept but `gradient` itself. Call it once for each input.
///
/// Shapes: `value` `[1]`; `gradient` as `x`, whose number format it takes on.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use distily_kernels::attach_gradient;
///
/// let device = Device::flex();
/// let x = Tensor::<2>::from_data([[3.0, 4.0]], &device.clone().autodiff()).require_grad();
/// // The value 25 = x · x, computed outside the graph, and its gradient 2 x.
/// let value = Tensor::<1>::from_data([25.0], &device);
/// let gradient = Tensor::<2>::from_data([[6.0, 8.0]], &device);
/// let loss = attach_gradient(value, x.clone(), gradient).mul_scalar(0.5);
/// assert_eq!(loss.to_data().try_to_vec::<f32>().unwrap(), [12.5]);
/// let gradient = x.grad(&loss.backward()).unwrap();
/// assert_eq!(gradient.into_data().try_to_vec::<f32>().unwrap(), [3.0, 4.0]);
/// ```
pub fn attach_gradient<const D: usize>(
    value: Tensor<1>,
    x: Tensor<D>,
    gradient: Tensor<D>,
) -> Tensor<1> {
    if !x.is_tracked() {
        return value;
    }
    let gradient = in_format_of(gradient.without_autodiff(), &x);
    #[cfg(feature = "flex")]
    if crate::native::serves(&x) {
        return crate::native::attach_gradient(value, x, gradient);
    }
    composed(value, x, gradient)
}

/// value + (s - s'), where s = Σ x · gradient and s' is s outside the graph: the value of `value`,
/// the derivative of s.
fn composed<const D: usize>(value: Tensor<1>, x: Tensor<D>, gradient: Tensor<D>) -> Tensor<1> {
    // Where nothing is asked of x it may be infinite, and 0 · inf is no number.
    let unasked = gradient.clone().equal_scalar(0.0);
    let gradient = Tensor::from_inner(gradient);
    let s = (x.mask_fill(Tensor::from_inner(unasked), 0.0) * gradient).sum();
    let nothing = in_format_of(s.clone() - s.detach(), &value);
    value + nothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn what_is_asked_nothing_may_be_infinite() {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_data([f32::NEG_INFINITY, 2.0], &device).require_grad();
        for attach in [attach_gradient, composed] {
            let value = Tensor::<1>::from_data([1.0], &device);
            let known = Tensor::<1>::from_data([0.0, 20.0], &Device::flex());
            let loss = attach(value, x.clone(), known);
            assert_eq!(loss.clone().into_scalar::<f32>(), 1.0);
            let gradient = x.grad(&loss.backward()).unwrap();
            assert_eq!(
                gradient.into_data().try_to_vec::<f32>().unwrap(),
                [0.0, 20.0]
            );
        }
    }

    #[test]
    fn both_forms_add_to_the_graph_of_the_value() {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_data([1.0, 2.0], &device).require_grad();
        for attach in [attach_gradient, composed] {
            let value = x.clone().mul_scalar(3.0).sum(); // contributes 3 to every element
            let known = Tensor::<1>::from_data([10.0, 20.0], &Device::flex());
            let loss = attach(value, x.clone(), known).mul_scalar(2.0);
            assert_eq!(loss.clone().into_scalar::<f32>(), 18.0);
            let gradient = x.grad(&loss.backward()).unwrap();
            assert_eq!(
                gradient.into_data().try_to_vec::<f32>().unwrap(),
                [26.0, 46.0]
            );
        }
    }

    #[test]
    fn a_constant_receives_nothing() {
        let device = Device::flex();
        let x = Tensor::<1>::from_data([1.0], &device.clone().autodiff());
        let value = Tensor::<1>::from_data([5.0], &device);
        let attached = attach_gradient(value, x.clone(), x);
        assert!(!attached.is_tracked());
        assert_eq!(attached.into_scalar::<f32>(), 5.0);
    }
}
