use distily_core::{ForwardError, ObjectiveError};
use thiserror::Error;

/// Why training does not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A field of a configuration out of range.
    #[error("`{field}`: got {got}, expected {expected}")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        got: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The student is on a device without autodiff.
    #[error("the student builds no graph: make it on an autodiff device (`device.autodiff()`)")]
    NoAutodiff,
    /// Nothing can be trained.
    #[error("every parameter of the student is frozen: nothing is left to train")]
    AllFrozen,
    /// A gradient policy on an objective that it can't be applied to.
    #[error(
        "`gradient_policy` sets terms on features against terms on the output, got {parts}: take `fixed`, or an objective with both kinds of term (one of your own says them in `Objective::parts`)"
    )]
    Inseparable {
        /// The objective's parts, with their kind.
        parts: String,
    },
    /// The loss is not a number.
    #[error("the loss is {loss} at step {step}: lower `learning_rate`, or look for bad data")]
    Diverged {
        /// The step, from 1.
        step: usize,
        /// The loss.
        loss: f64,
    },
    /// The gradient is not a number.
    #[error(
        "the gradient's norm is {norm} at step {step}, with a finite loss: lower `learning_rate`, or look for a loss that overflows"
    )]
    GradientDiverged {
        /// The step, from 1.
        step: usize,
        /// The global norm.
        norm: f64,
    },
    /// No prediction is scored in a step's batches.
    #[error("no prediction is scored in the batches of step {step}: is every token masked?")]
    NothingScored {
        /// The step, from 1.
        step: usize,
    },
    /// Student and teacher do not fit the objective.
    #[error(transparent)]
    Objective(#[from] ObjectiveError),
    /// A model could not run a batch.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}
