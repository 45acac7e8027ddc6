use burn::tensor::{DType, FloatDType, Tensor};

/// A weight in the number format of the tensor that it is used with: weights kept in bf16, or
/// quantised, are widened where they are used.
pub fn in_format_of<const D: usize, const E: usize>(weight: Tensor<D>, x: &Tensor<E>) -> Tensor<D> {
    let weight = match weight.dtype() {
        DType::QFloat(_) => weight.dequantize(),
        _ => weight,
    };
    if weight.dtype() == x.dtype() {
        weight
    } else {
        weight.cast(FloatDType::from(x.dtype()))
    }
}
