use burn::tensor::{DType, FloatDType, Tensor};

/// `x` in a format that sums can be taken in: half precision and quantised numbers become f32.
pub fn widened<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        DType::F32 | DType::F64 => x,
        DType::QFloat(_) => x.dequantize(),
        _ => x.cast(FloatDType::F32),
    }
}

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
