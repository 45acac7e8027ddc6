use crate::linear::{project, unfilled_linear};
use crate::{Activation, DecoderConfig};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::{gelu, relu, silu};
use burn::tensor::{Device, Tensor};
use distily_kernels::{gelu_tanh, silu_gate};

/// The feed-forward block: down(activation(gate(x)) · up(x)), or down(activation(up(x))) where it
/// has no gate.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// `[width, feed_forward_width]`.
    pub gate_proj: Option<Linear>,
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
        let bias = config.has_feed_forward_bias();
        let gated = config.architecture.is_gated();
        Self {
            gate_proj: gated.then(|| unfilled_linear(width, inner, bias, device)),
            up_proj: unfilled_linear(width, inner, bias, device),
            down_proj: unfilled_linear(inner, width, bias, device),
            activation: config.activation,
        }
    }

    /// `[batch, seq, width]` to the same.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let up = project(&self.up_proj, x.clone());
        let inner = match &self.gate_proj {
            Some(gate) => {
                let gate = project(gate, x);
                match self.activation {
                    Activation::Silu => silu_gate(gate, up),
                    activation => activate(activation, gate) * up,
                }
            }
            None => activate(self.activation, up),
        };
        project(&self.down_proj, inner)
    }
}

fn activate(activation: Activation, x: Tensor<3>) -> Tensor<3> {
    match activation {
        Activation::Silu => silu(x),
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Relu => relu(x),
    }
}
