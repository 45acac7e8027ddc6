use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

/// A root-mean-square norm; see [`distily_kernels::rms_norm`].
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[width]`.
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl RmsNorm {
    pub(crate) fn new(width: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            weight: crate::fill::unfilled([width], device),
            epsilon,
        }
    }

    /// Normalises the last axis of `[.., width]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        distily_kernels::rms_norm(x, self.weight.val(), self.epsilon)
    }
}
