use crate::counting::Counting;
use crate::output_pass::TeacherRows;
use crate::{Projector, SoftTerm};
use burn::module::Module;
use burn::tensor::Tensor;
use distily_core::{Comparison, ModelShape, ObjectiveError, OutputLoss, OutputTokens, Taps};
use std::sync::Arc;

/// A divergence between the teacher's distribution and what a projector makes of the student's
/// logits. It is not fused: the projector sees, and its gradient needs, all tokens that count.
#[derive(Module, Debug)]
pub(crate) struct ProjectedLogits {
    #[module(skip)]
    pub(crate) term: Arc<SoftTerm>,
    pub(crate) projector: Projector,
    /// Of the student and the teacher that it was made for.
    #[module(skip)]
    pub(crate) vocabularies: (usize, usize),
}

impl ProjectedLogits {
    /// None: the logits are computed from the final hidden states, which are always there.
    pub(crate) fn taps(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<(Taps, Taps), ObjectiveError> {
        let got = (student.vocabulary, teacher.vocabulary);
        if got == self.vocabularies {
            return Ok((Taps::none(), Taps::none()));
        }
        Err(ObjectiveError::Mismatch {
            term: self.term.name.clone(),
            problem: format!(
                "its projector was built for vocabularies of {:?} (student, teacher), and got {got:?}: build the objective for the models that it is used with",
                self.vocabularies
            ),
        })
    }

    pub(crate) fn value(&self, comparison: &Comparison<'_>) -> Result<Tensor<1>, ObjectiveError> {
        let hidden = comparison.student.hidden.clone().flatten::<2>(0, 1);
        let device = hidden.device().without_autodiff();
        let counting = Counting::of(&comparison.batch.prediction_mask());
        if counting.is_empty() {
            return Ok(Tensor::zeros([1], &device));
        }
        let logits = comparison.head.logits(counting.rows(hidden));
        let projected = self.projector.forward(logits);
        let teacher = TeacherRows::new(&comparison.teacher.distribution, &counting)?;
        let share = 1.0 / comparison.predictions.max(1) as f64;
        let targets = comparison.batch.target_ids(&device).unsqueeze_dim::<2>(1);
        let of_term = self.term.value_and_gradient(&OutputTokens {
            student: projected.clone().without_autodiff(),
            teacher: Some(teacher.of(0..counting.len())),
            targets: counting.ids(targets).squeeze_dim(1),
            weights: Tensor::full([counting.len()], share, &device),
            first: 0,
            step: comparison.step,
        })?;
        Ok(of_term.attached_to(projected))
    }
}
