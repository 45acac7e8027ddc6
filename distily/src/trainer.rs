use crate::clip::{clip_factor, global_norm};
use crate::optimizer::Optimizer;
use crate::{TrainError, TrainingConfig};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use distily_core::{CausalLm, Comparison, Objective, Taps, Teacher, TokenBatch};
use std::sync::Arc;
use tracing::debug_span;

/// What the optimizer sees: the student, and the objective with its projectors.
#[derive(Module, Debug)]
pub struct Trainee<S: Module, O: Module> {
    /// The student.
    pub student: S,
    /// What it is trained for.
    pub objective: O,
}

/// What happened in one optimizer step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// The step, from 1.
    pub step: usize,
    /// The weighted sum of the terms.
    pub loss: f64,
    /// The terms by name, unweighted.
    pub terms: Vec<(String, f64)>,
    /// The learning rate.
    pub learning_rate: f64,
    /// The gradient's global norm before it was clipped.
    pub gradient_norm: f64,
    /// The scored predictions.
    pub predictions: usize,
}

/// Trains a student step by step.
///
/// The caller brings the batches, and decides between steps what to measure, to log and to save.
#[derive(Debug)]
pub struct Trainer<S: CausalLm, O: Objective> {
    /// Taken out while the optimizer steps.
    trainee: Option<Trainee<S, O>>,
    teacher: Arc<dyn Teacher>,
    optimizer: Optimizer,
    config: TrainingConfig,
    student_taps: Taps,
    teacher_taps: Taps,
    step: usize,
}

const STEPPING: &str = "the trainee is only out while the optimizer steps";

impl<S: CausalLm, O: Objective> Trainer<S, O> {
    /// A trainer at its first step. The student is on an autodiff device; its frozen parameters
    /// (see [`freeze`](distily_models::freeze)) stay as they are.
    ///
    /// # Errors
    ///
    /// [`TrainError`]: a configuration out of range, a student that can't be trained, models that
    /// do not fit the objective.
    pub fn new(
        student: S,
        teacher: Arc<dyn Teacher>,
        objective: O,
        config: TrainingConfig,
    ) -> Result<Self, TrainError> {
        config.check()?;
        if !student.device().is_autodiff() {
            return Err(TrainError::NoAutodiff);
        }
        let mut trainable = Trainable(false);
        student.visit(&mut trainable);
        if !trainable.0 {
            return Err(TrainError::AllFrozen);
        }
        let (student_taps, teacher_taps) = objective.taps(&student.shape(), &teacher.shape())?;
        Ok(Self {
            trainee: Some(Trainee { student, objective }),
            teacher,
            optimizer: Optimizer::new(config.optimizer),
            config,
            student_taps,
            teacher_taps,
            step: 0,
        })
    }

    /// The student as it is now.
    pub fn student(&self) -> &S {
        &self.trainee().student
    }

    /// The student, off its autodiff device.
    pub fn into_student(self) -> S {
        self.trainee().student.valid()
    }

    /// Steps taken.
    pub fn steps_taken(&self) -> usize {
        self.step
    }

    fn trainee(&self) -> &Trainee<S, O> {
        self.trainee.as_ref().expect(STEPPING)
    }

    /// One optimizer step on the mean over every scored prediction of `batches`, which are run one
    /// after the other (gradient accumulation). Its phases are `tracing` spans: `teacher`, `student`
    /// (with the loss), `backward` and `optimizer`.
    ///
    /// # Errors
    ///
    /// [`TrainError`]; the student is then as before the step.
    pub fn step(&mut self, batches: &[TokenBatch]) -> Result<StepReport, TrainError> {
        let step = self.step + 1;
        let predictions = batches.iter().map(TokenBatch::predictions).sum();
        if predictions == 0 {
            return Err(TrainError::NothingScored { step });
        }
        let mut gradients = GradientsAccumulator::new();
        let mut loss = 0.0;
        let mut terms: Vec<(String, f64)> = Vec::new();
        for batch in batches {
            let trainee = self.trainee();
            let teacher = debug_span!("teacher")
                .in_scope(|| self.teacher.answer(batch, &self.teacher_taps))?;
            let losses = debug_span!("student").in_scope(|| {
                let student = trainee.student.forward(batch, &self.student_taps)?;
                trainee.objective.evaluate(&Comparison {
                    student: &student,
                    head: &trainee.student.head(),
                    teacher: &teacher,
                    batch,
                    predictions,
                })
            })?;
            drop(teacher);
            loss += scalar(&losses.total);
            for (index, term) in losses.terms.iter().enumerate() {
                let value = scalar(&term.value);
                match terms.get_mut(index) {
                    Some((_, sum)) => *sum += value,
                    None => terms.push((term.name.clone(), value)),
                }
            }
            if losses.total.is_tracked() {
                let _phase = debug_span!("backward").entered();
                let of_batch = losses.total.backward();
                gradients.accumulate(trainee, GradientsParams::from_grads(of_batch, trainee));
            }
        }
        if !loss.is_finite() {
            return Err(TrainError::Diverged { step, loss });
        }
        let _phase = debug_span!("optimizer").entered();
        let learning_rate = self.config.learning_rate().at(self.step);
        let gradients = gradients.grads();
        let gradient_norm = global_norm(self.trainee(), &gradients);
        if !gradient_norm.is_finite() {
            return Err(TrainError::GradientDiverged {
                step,
                norm: gradient_norm,
            });
        }
        let trainee = self.trainee.take().expect(STEPPING);
        let factor = clip_factor(gradient_norm, self.config.clip);
        let stepped = self
            .optimizer
            .step(learning_rate, factor, trainee, gradients);
        self.trainee = Some(stepped);
        self.step = step;
        tracing::debug!(step, loss, learning_rate, gradient_norm, "step");
        Ok(StepReport {
            step,
            loss,
            terms,
            learning_rate,
            gradient_norm,
            predictions,
        })
    }
}

fn scalar(value: &Tensor<1>) -> f64 {
    f64::from(value.clone().into_scalar::<f32>())
}

/// Whether any parameter gets a gradient.
struct Trainable(bool);

impl ModuleVisitor for Trainable {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 |= param.val().is_require_grad();
    }
}
