mod build;
mod error;
mod loss;

pub use error::ObjectiveConfigError;
pub use loss::{LossConfig, Relation};

use crate::{ProjectorConfig, Weight};
use distily_layermap::LayerMapConfig;
use serde::{Deserialize, Serialize};

/// An objective as a config file says it: a list of terms.
///
/// ```
/// use burn::tensor::Device;
/// use distily_core::{ModelShape, Objective, Seed};
/// use distily_layermap::LayerMapConfig;
/// use distily_objectives::{LossConfig, ObjectiveConfig, ProjectorConfig, Ramp, TermConfig};
///
/// let hidden = TermConfig {
///     weight: Ramp::new(1.0, 0.1, 500).into(),
///     layers: Some(LayerMapConfig::LastK { k: 2 }),
///     projector: Some(ProjectorConfig::Linear),
///     ..TermConfig::new(LossConfig::HiddenMse)
/// };
/// let config = ObjectiveConfig { terms: vec![TermConfig::new(LossConfig::ForwardKl), hidden] };
///
/// let student = ModelShape { vocabulary: 512, width: 64, layers: 3, ..ModelShape::default() };
/// let teacher = ModelShape { vocabulary: 512, width: 96, layers: 6, ..ModelShape::default() };
/// let objective = config.build(&student, &teacher, Seed(1), &Device::flex().autodiff())?;
///
/// // It asks for what it needs: hidden states of two layers on each side.
/// let (of_student, of_teacher) = objective.taps(&student, &teacher)?;
/// assert!(!of_student.wants_any(0) && of_student.wants_any(1) && of_teacher.wants_any(4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// The terms; at least one.
    pub terms: Vec<TermConfig>,
}

/// One term of an [`ObjectiveConfig`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermConfig {
    /// Which loss.
    pub loss: LossConfig,
    /// What logs call it; the loss' name if not said. Two terms of one loss need two names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its factor, a number or a schedule; 1 if not said.
    #[serde(default = "one")]
    pub weight: Weight,
    /// The temperature of a soft loss on the output; 1 if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Whether a soft loss is multiplied by the squared temperature, as Hinton et al. do
    /// (1503.02531); it is if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_squared: Option<bool>,
    /// Which layers a loss on features compares; [`LayerMapConfig::Uniform`] if not said. Its value
    /// is the mean over the pairs, so that a weight means the same for any depth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<LayerMapConfig>,
    /// What is done to the teacher's hidden states before they are compared; nothing if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm: Option<NormConfig>,
    /// What takes the student's hidden states to the teacher's width; nothing if not said. Each
    /// pair of layers has one of its own.
    ///
    /// Before a divergence, what takes the student's logits to the teacher's: for small
    /// vocabularies, as it is as large as one times the other, and the term is not fused then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projector: Option<ProjectorConfig>,
}

/// What is done to a teacher's hidden states before they are compared. None of it is trained: a
/// trained norm of the teacher would let the loss fall to 0 by making all tokens alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum NormConfig {
    /// See [`layer_normalized`](crate::layer_normalized).
    Layer,
    /// See [`rms_normalized`](crate::rms_normalized).
    Rms,
    /// See [`Whitening`](crate::Whitening); the objective needs
    /// [`Composite::calibrated`](crate::Composite::calibrated).
    Whitened {
        /// The shrinkage λ, 0 to 1.
        #[serde(default = "thousandth")]
        shrinkage: f64,
    },
}

impl TermConfig {
    /// A loss with weight 1 and nothing else said.
    pub fn new(loss: LossConfig) -> Self {
        Self {
            loss,
            name: None,
            weight: one(),
            temperature: None,
            temperature_squared: None,
            layers: None,
            norm: None,
            projector: None,
        }
    }
}

fn one() -> Weight {
    Weight::Constant(1.0)
}

fn thousandth() -> f64 {
    1e-3
}

impl Default for ObjectiveConfig {
    /// Forward KL alone.
    fn default() -> Self {
        Self {
            terms: vec![TermConfig::new(LossConfig::ForwardKl)],
        }
    }
}
