use crate::fill::linear;
use crate::{Activation, DecoderConfig};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::{gelu, gelu_approximate, relu};
use burn::tensor::{Device, Tensor};
use distily_kernels::silu_gate;

/// The gated feed-forward block: down(activation(gate(x)) · up(x)).
#[derive(Module, Debug)]
pub struct FeedForward {
    /// `[width, feed_forward_width]`.
    pub gate_proj: Linear,
    /// `[width, feed_forward_width]`.
    pub up_proj: Linear,
    /// `[feed_forward_width, width]`.
    pub down_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

impl FeedForward {
    pub(crate) fn new(config: &DecoderConfig, device: &Device) -> Self {
        let (width, inner) = (config.width, config.feed_forward_width);
        let bias = config.feed_forward_bias;
        Self {
            gate_proj: linear(width, inner, bias, device),
            up_proj: linear(width, inner, bias, device),
            down_proj: linear(inner, width, bias, device),
            activation: config.activation,
        }
    }

    /// `[batch, seq, width]` to the same.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = self.gate_proj.forward(x.clone());
        let up = self.up_proj.forward(x);
        self.down_proj.forward(match self.activation {
            Activation::Silu => silu_gate(gate, up),
            Activation::Gelu => gelu(gate) * up,
            Activation::GeluTanh => gelu_approximate(gate) * up,
            Activation::Relu => relu(gate) * up,
        })
    }
}
