use crate::fill::Parameter;
use burn::module::{Param, ParamId};
use burn::tensor::quantization::{QuantScheme, QuantValue, ScaleDtype};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// What a model's weights are kept as in memory. Everything is computed in f32: weights in fewer
/// bits are widened where they are used.
///
/// Norms and biases are always f32. Quantised are the projections, in blocks of up to 32 inputs with
/// a scale of their own; embeddings and heads, which quantisation hurts most, stay bf16.
///
/// burn's CPU backend keeps a 4-bit number in a byte; backends of GPUs pack them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// bfloat16.
    BF16,
    /// 8 bits, symmetric.
    Int8,
    /// 4 bits, symmetric.
    Int4,
}

/// Inputs that share a scale, at most.
const BLOCK: usize = 32;

impl Precision {
    /// A parameter with this value.
    pub(crate) fn keep<const D: usize>(
        self,
        data: TensorData,
        parameter: &Parameter<'_>,
        device: &Device,
    ) -> Param<Tensor<D>> {
        if self == Self::F32 || D != 2 {
            return Param::from_data(data, device);
        }
        let tensor = Tensor::<D>::from_data(data, device);
        let projection = parameter.in_linear && !parameter.path.starts_with("lm_head");
        let value = match self {
            Self::Int8 if projection => Some(QuantValue::Q8S),
            Self::Int4 if projection => Some(QuantValue::Q4S),
            _ => None,
        };
        let kept = match value {
            Some(value) => tensor.quantize_dynamic(&scheme(value, parameter.shape, device)),
            None => tensor.cast(FloatDType::BF16),
        };
        Param::initialized(ParamId::new(), kept)
    }
}

/// Blocks along the inputs, of the largest power of two that divides them.
fn scheme(value: QuantValue, shape: &[usize], device: &Device) -> QuantScheme {
    let block = BLOCK.min(1 << shape[0].trailing_zeros());
    device
        .settings()
        .quantization
        .scheme
        .with_value(value)
        .per_block([block as u8, 1], ScaleDtype::F32)
}
