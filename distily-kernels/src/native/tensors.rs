//! Between burn's tensors and slices.

use burn::backend::DispatchDevice;
use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Whether the native code takes a tensor: it is f32 and on flex, in a graph or not.
pub(crate) fn serves<const D: usize>(tensor: &Tensor<D>) -> bool {
    is_flex(&tensor.device()) && tensor.dtype() == DType::F32
}

/// Whether a device is burn's CPU backend, with a graph or without.
// With flex as the only backend the pattern can't fail.
#[allow(unreachable_patterns)]
pub(crate) fn is_flex(device: &Device) -> bool {
    let device = device.clone().without_autodiff();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

/// The contiguous elements of a tensor, outside any graph.
pub(super) fn elements<const D: usize>(tensor: &Tensor<D>) -> FlexTensor {
    into_elements(tensor.clone())
}

/// The same, without a second holder of them.
pub(super) fn into_elements<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    let tensor = tensor.without_autodiff();
    contiguous(
        tensor
            .try_into_primitive::<Flex>()
            .expect("`serves` was asked first"),
    )
}

/// The same tensor with contiguous elements; what was given is let go, so that who writes to the
/// result copies nothing.
pub(super) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// The slice of a contiguous f32 tensor.
pub(super) fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("contiguous f32")
}

/// A tensor of these elements.
pub(super) fn flex<const D: usize>(elements: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(elements, shape))
}

/// A tensor of these elements, outside any graph.
pub(super) fn plain<const D: usize>(elements: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(flex(elements, shape))
}
