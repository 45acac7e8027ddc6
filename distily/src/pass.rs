use crate::{TrainError, Trainee};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use distily_core::{
    Answer, CausalLm, Comparison, LossTerms, Objective, ObjectivePart, Taps, TokenBatch,
};
use distily_objectives::GradientPolicy;
use tracing::debug_span;

/// A batch of a step, as every pass over it sees it.
pub(crate) struct Lesson<'a, S: CausalLm, O: Objective> {
    pub(crate) trainee: &'a Trainee<S, O>,
    pub(crate) taps: &'a Taps,
    pub(crate) batch: &'a TokenBatch,
    pub(crate) predictions: usize,
    /// Optimizer steps taken before.
    pub(crate) step: usize,
}

/// One forward and one backward of the student through each batch of a step, for an objective or a
/// part of one.
pub(crate) struct Pass<S: CausalLm, O: Objective> {
    objective: O,
    /// Terms that are seen in the same forward, their loss balanced against the objective's.
    balanced: Option<O>,
    /// The weighted sum of the terms, so far.
    pub(crate) loss: f64,
    /// The terms by name, unweighted, so far.
    pub(crate) terms: Vec<(String, f64)>,
    gradients: GradientsAccumulator<Trainee<S, O>>,
}

impl<S: CausalLm, O: Objective> Pass<S, O> {
    pub(crate) fn new(objective: O) -> Self {
        Self {
            objective,
            balanced: None,
            loss: 0.0,
            terms: Vec::new(),
            gradients: GradientsAccumulator::new(),
        }
    }

    /// The passes that the gradient of `objective` takes; if two, of its output terms and of its
    /// terms on features, in this order.
    ///
    /// # Errors
    ///
    /// [`TrainError::Inseparable`].
    pub(crate) fn all(policy: GradientPolicy, objective: &O) -> Result<Vec<Self>, TrainError> {
        if policy == GradientPolicy::Fixed {
            return Ok(vec![Self::new(objective.clone())]);
        }
        let kinds = [true, false].map(|output| objective.only(|part| part.output == output));
        let [Some(output), Some(features)] = kinds else {
            let parts = objective.parts().into_iter().map(|part| {
                let kind = if part.output { "output" } else { "features" };
                format!("`{}` ({kind})", part.name)
            });
            return Err(TrainError::Inseparable {
                parts: parts.collect::<Vec<_>>().join(", "),
            });
        };
        Ok(if policy.combines_gradients() {
            vec![Self::new(output), Self::new(features)]
        } else {
            vec![Self {
                balanced: Some(features),
                ..Self::new(output)
            }]
        })
    }

    /// A pass for each part of `objective`.
    pub(crate) fn by_part(objective: &O) -> Vec<(ObjectivePart, Self)> {
        let parts = objective.parts().into_iter();
        let pass = |part: ObjectivePart| {
            let objective = objective.only(|other| *other == part)?;
            Some((part, Self::new(objective)))
        };
        parts.filter_map(pass).collect()
    }

    /// Runs one batch. The teacher's answer is let go before the backward.
    pub(crate) fn run(
        &mut self,
        lesson: &Lesson<'_, S, O>,
        teacher: Answer,
    ) -> Result<(), TrainError> {
        let total = debug_span!("student").in_scope(|| self.forward(lesson, teacher))?;
        if total.is_tracked() {
            let _phase = debug_span!("backward").entered();
            let of_batch = GradientsParams::from_grads(total.backward(), lesson.trainee);
            self.gradients.accumulate(lesson.trainee, of_batch);
        }
        Ok(())
    }

    /// What is differentiated.
    fn forward(
        &mut self,
        lesson: &Lesson<'_, S, O>,
        teacher: Answer,
    ) -> Result<Tensor<1>, TrainError> {
        let student = lesson.trainee.student.forward(lesson.batch, lesson.taps)?;
        let comparison = Comparison {
            student: &student,
            head: &lesson.trainee.student.head(),
            teacher: &teacher,
            batch: lesson.batch,
            predictions: lesson.predictions,
            step: lesson.step,
        };
        let losses = self.objective.evaluate(&comparison)?;
        let Some(balanced) = &self.balanced else {
            self.count(0, &losses);
            return Ok(losses.total);
        };
        let others = balanced.evaluate(&comparison)?;
        let loss = self.count(0, &losses);
        let other_loss = self.count(losses.terms.len(), &others);
        let factor = GradientPolicy::BalancedByLoss.feature_factor(loss, other_loss);
        Ok(losses.total + others.total.mul_scalar(factor))
    }

    /// Adds the values of a batch to those of the step, its terms to those from `first` on; returns
    /// the weighted sum.
    fn count(&mut self, first: usize, losses: &LossTerms) -> f64 {
        for (index, term) in losses.terms.iter().enumerate() {
            let value = scalar(&term.value);
            match self.terms.get_mut(first + index) {
                Some((_, sum)) => *sum += value,
                None => self.terms.push((term.name.clone(), value)),
            }
        }
        let loss = scalar(&losses.total);
        self.loss += loss;
        loss
    }

    /// The gradient of all batches together.
    pub(crate) fn gradients(mut self) -> GradientsParams {
        self.gradients.grads()
    }
}

fn scalar(value: &Tensor<1>) -> f64 {
    f64::from(value.clone().into_scalar::<f32>())
}
