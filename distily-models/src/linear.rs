use crate::fill::unfilled;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use distily_kernels::linear;

/// A linear layer that holds nothing yet.
pub(crate) fn unfilled_linear(
    inputs: usize,
    outputs: usize,
    bias: bool,
    device: &Device,
) -> Linear {
    Linear {
        weight: unfilled([inputs, outputs], device),
        bias: bias.then(|| unfilled([outputs], device)),
    }
}

/// `[.., inputs]` to `[.., outputs]`, whatever format the weight is kept in.
pub(crate) fn project<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    linear(x, layer.weight.val(), bias)
}
