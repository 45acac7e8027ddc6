use crate::DecoderConfig;
use crate::fill::unfilled;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use distily_kernels::{layer_norm, rms_norm};

/// A norm over the last axis: a [layer norm](layer_norm) where it has a bias, and otherwise an
/// [RMS norm](rms_norm).
#[derive(Module, Debug)]
pub struct Norm {
    /// `[width]`.
    pub weight: Param<Tensor<1>>,
    /// `[width]`.
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    epsilon: f64,
}

impl Norm {
    /// A norm of a configuration's kind.
    pub(crate) fn new(config: &DecoderConfig, width: usize, device: &Device) -> Self {
        Self {
            weight: unfilled([width], device),
            bias: config
                .architecture
                .has_layer_norms()
                .then(|| unfilled([width], device)),
            epsilon: config.norm_epsilon,
        }
    }

    /// `[.., width]` to the same.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let weight = self.weight.val();
        match &self.bias {
            Some(bias) => layer_norm(x, weight, bias.val(), self.epsilon),
            None => rms_norm(x, weight, self.epsilon),
        }
    }
}
