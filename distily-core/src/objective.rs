use crate::{Answer, ForwardError, Head, ModelShape, Outputs, Taps, TokenBatch};
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Int, Tensor};
use distily_kernels::ValueAndGradient;
use std::fmt::Debug;
use thiserror::Error;

/// Why an objective has no value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ObjectiveError {
    /// Student and teacher do not fit the objective, or each other.
    #[error("{term}: {problem}")]
    Mismatch {
        /// The term that found it.
        term: String,
        /// What was got, what was expected and what to do.
        problem: String,
    },
    /// A model could not run the batch.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// All that a term may look at: what student and teacher revealed about one batch.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// The student's outputs, in its graph.
    pub student: &'a Outputs,
    /// The student's head, in its graph.
    pub head: &'a Head,
    /// The teacher's answer, outside any graph.
    pub teacher: &'a Answer,
    /// The batch that both read.
    pub batch: &'a TokenBatch,
    /// The predictions scored in the whole optimizer step: the divisor of every mean. Where a step
    /// is accumulated from several batches it is their sum, so that each token weighs the same
    /// however the step was split.
    pub predictions: usize,
    /// The optimizer steps taken before this one: what schedules of weights follow.
    pub step: usize,
}

impl Comparison<'_> {
    /// The weight of each prediction in a mean over the step, `[batch * seq]`: 1 / predictions
    /// where it is scored, else 0.
    pub fn weights(&self, device: &Device) -> Tensor<1> {
        self.batch.prediction_weights(self.predictions, device)
    }
}

/// What a teacher says of some tokens.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one at a time, and its tensors are far larger
#[non_exhaustive]
pub enum TeacherTokens {
    /// Logits, `[tokens, vocabulary]`.
    Logits(Tensor<2>),
    /// See [`Distribution::Sparse`](crate::Distribution::Sparse).
    Sparse {
        /// `[tokens, k]`.
        ids: Tensor<2, Int>,
        /// `[tokens, k]`.
        probabilities: Tensor<2>,
        /// `[tokens]`.
        tail: Tensor<1>,
        /// What the logits were divided by.
        temperature: f64,
    },
}

/// Some of a step's scored predictions, as a loss on the output distribution sees them.
#[derive(Debug, Clone)]
pub struct OutputTokens {
    /// The student's logits, `[tokens, vocabulary]`.
    pub student: Tensor<2>,
    /// The teacher's distributions; `None` if no loss asked for them.
    pub teacher: Option<TeacherTokens>,
    /// The ids that follow, `[tokens]`.
    pub targets: Tensor<1, Int>,
    /// The weight of each token, `[tokens]`.
    pub weights: Tensor<1>,
    /// The batch's scored predictions before these, which are in other chunks.
    pub first: usize,
    /// The optimizer steps taken before this one.
    pub step: usize,
}

/// A loss on the output distribution whose gradient is known in closed form; object-safe.
///
/// All such terms of an objective are computed in one pass over chunks of tokens that never holds
/// `[batch, seq, vocabulary]` of either side.
pub trait OutputLoss: Debug + Send + Sync {
    /// Whether it looks at the teacher.
    fn needs_teacher(&self) -> bool {
        true
    }

    /// The weighted sum over the tokens and its gradient with respect to the student's logits, both
    /// outside any graph.
    ///
    /// # Errors
    ///
    /// [`ObjectiveError::Mismatch`] where it can't read what the teacher says.
    fn value_and_gradient(&self, tokens: &OutputTokens)
    -> Result<ValueAndGradient, ObjectiveError>;
}

/// One weighted part of an objective; object-safe.
///
/// A term has no parameters: built-in projectors are module fields of the objective beside its
/// terms, and a loss with parameters of its own is an [`Objective`].
pub trait Term: Debug + Send + Sync {
    /// What logs and reports call it.
    fn name(&self) -> &str;

    /// The factor of its value in the objective, after `step` optimizer steps.
    fn weight(&self, step: usize) -> f64;

    /// What it needs of the student and of the teacher, in this order.
    ///
    /// # Errors
    ///
    /// [`ObjectiveError::Mismatch`] where the term can't compare models of these sizes.
    fn taps(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<(Taps, Taps), ObjectiveError>;

    /// Its unweighted value, `[1]`: a mean over the step's scored predictions.
    ///
    /// # Errors
    ///
    /// [`ObjectiveError::Mismatch`].
    fn value(&self, comparison: &Comparison<'_>) -> Result<Tensor<1>, ObjectiveError>;

    /// This term as a loss on the output distribution, if it is one: it needs no taps then, and
    /// [`value`](Self::value) is not called by an objective that fuses such terms.
    fn output_loss(&self) -> Option<&dyn OutputLoss> {
        None
    }

    /// Whether it compares output distributions: see [`ObjectivePart::output`].
    fn is_of_output(&self) -> bool {
        self.output_loss().is_some()
    }
}

/// The value of one term.
#[derive(Debug, Clone)]
pub struct NamedLoss {
    /// The term's name.
    pub name: String,
    /// The term's weight.
    pub weight: f64,
    /// The term's unweighted value, `[1]`.
    pub value: Tensor<1>,
}

/// The values of an objective's terms, by name.
#[derive(Debug, Clone)]
pub struct LossTerms {
    /// The weighted sum, `[1]`: what is differentiated.
    pub total: Tensor<1>,
    /// The terms, unweighted.
    pub terms: Vec<NamedLoss>,
}

impl LossTerms {
    /// The weighted sum of some terms; `None` without any.
    pub fn sum(terms: Vec<NamedLoss>) -> Option<Self> {
        let total = terms
            .iter()
            .map(|term| term.value.clone().mul_scalar(term.weight))
            .reduce(|total, term| total + term)?;
        Some(Self { total, terms })
    }
}

/// One part of an objective, as reports and gradient policies know it: a term of a sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectivePart {
    /// Its name, which no other part has.
    pub name: String,
    /// Whether it compares output distributions; if not, features.
    pub output: bool,
}

/// What a distillation minimises: a module, because it may hold projectors that are trained and
/// checkpointed with the student, and are never exported with it.
pub trait Objective: Module + ModuleDisplay {
    /// What it needs of the student and of the teacher, in this order.
    ///
    /// # Errors
    ///
    /// [`ObjectiveError::Mismatch`] where it can't compare models of these sizes.
    fn taps(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<(Taps, Taps), ObjectiveError>;

    /// Its value.
    ///
    /// # Errors
    ///
    /// [`ObjectiveError::Mismatch`].
    fn evaluate(&self, comparison: &Comparison<'_>) -> Result<LossTerms, ObjectiveError>;

    /// The parts that it is the sum of. An objective that can't be taken apart is one part, said to
    /// be of the output.
    fn parts(&self) -> Vec<ObjectivePart> {
        vec![ObjectivePart {
            name: "objective".to_owned(),
            output: true,
        }]
    }

    /// The sum of the [`parts`](Self::parts) that `keep` is true for, weighted as here and with the
    /// very parameters of this objective (a clone's: their gradients are those of the original);
    /// `None` if it keeps none.
    fn only(&self, keep: impl Fn(&ObjectivePart) -> bool) -> Option<Self> {
        self.parts().iter().any(keep).then(|| self.clone())
    }
}

/// The sum of two objectives: how one of your own, with parameters, stands beside a built-in one. It is
/// one part to reports and policies of gradients, see [`Objective::parts`].
impl<A: Objective, B: Objective> Objective for (A, B) {
    fn taps(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<(Taps, Taps), ObjectiveError> {
        let (of_first, of_second) = (
            self.0.taps(student, teacher)?,
            self.1.taps(student, teacher)?,
        );
        Ok((
            of_first.0.union(&of_second.0),
            of_first.1.union(&of_second.1),
        ))
    }

    fn evaluate(&self, comparison: &Comparison<'_>) -> Result<LossTerms, ObjectiveError> {
        let (first, second) = (self.0.evaluate(comparison)?, self.1.evaluate(comparison)?);
        Ok(LossTerms {
            total: first.total + second.total,
            terms: first.terms.into_iter().chain(second.terms).collect(),
        })
    }
}
