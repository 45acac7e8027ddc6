use crate::clip::{clip_factor, global_norm};
use crate::optimizer::Optimizer;
use crate::pass::{Lesson, Pass};
use crate::{TrainError, TrainingConfig};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use distily_core::{CausalLm, Objective, ObjectivePart, Taps, Teacher, TokenBatch};
use distily_kernels::on_pool;
use distily_objectives::GradientReport;
use std::iter::repeat_n;
use std::sync::Arc;
use tracing::dispatcher::{get_default, with_default};
use tracing::{Span, debug_span};

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
    /// The weighted sum of the terms; a gradient policy does not change it.
    pub loss: f64,
    /// The terms by name, unweighted.
    pub terms: Vec<(String, f64)>,
    /// The learning rate.
    pub learning_rate: f64,
    /// The gradient's global norm before it was clipped.
    pub gradient_norm: f64,
    /// The scored predictions.
    pub predictions: usize,
    /// The gradient of each term, where one was asked for; see
    /// [`gradient_report_every`](TrainingConfig::gradient_report_every).
    pub gradients: Option<GradientReport>,
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
    /// do not fit the objective, an objective that does not fit the gradient policy.
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
        Pass::<S, O>::all(config.gradient_policy, &objective)?;
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

    /// The objective as it is now, with its projectors.
    pub fn objective(&self) -> &O {
        &self.trainee().objective
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
        let device = self.student().device();
        // Both are of this thread.
        let (dispatch, span) = (get_default(Clone::clone), Span::current());
        on_pool(&device, || {
            with_default(&dispatch, || span.in_scope(|| self.step_here(batches)))
        })
    }

    fn step_here(&mut self, batches: &[TokenBatch]) -> Result<StepReport, TrainError> {
        let step = self.step + 1;
        let predictions = batches.iter().map(TokenBatch::predictions).sum();
        if predictions == 0 {
            return Err(TrainError::NothingScored { step });
        }
        let every = self.config.gradient_report_every;
        let policy = self.config.gradient_policy;
        let trainee = self.trainee();
        let mut passes = Pass::all(policy, &trainee.objective)?;
        let mut observed = if every > 0 && step.is_multiple_of(every) {
            Pass::by_part(&trainee.objective)
        } else {
            Vec::new()
        };
        for batch in batches {
            let lesson = Lesson {
                trainee,
                taps: &self.student_taps,
                batch,
                predictions,
                step: self.step,
            };
            let teacher = debug_span!("teacher")
                .in_scope(|| self.teacher.answer(batch, &self.teacher_taps))?;
            let answers = repeat_n(teacher, passes.len() + observed.len());
            let observing = observed.iter_mut().map(|(_, pass)| pass);
            for (pass, teacher) in passes.iter_mut().chain(observing).zip(answers) {
                pass.run(&lesson, teacher)?;
            }
        }
        let loss: f64 = passes.iter().map(|pass| pass.loss).sum();
        if !loss.is_finite() {
            return Err(TrainError::Diverged { step, loss });
        }
        let _phase = debug_span!("optimizer").entered();
        let learning_rate = self.config.learning_rate().at(self.step);
        let mut terms = Vec::new();
        for pass in &mut passes {
            terms.append(&mut pass.terms);
        }
        let mut gradients = passes.into_iter().map(Pass::gradients);
        let whole_or_output = gradients.next().unwrap_or_default();
        let gradients = match gradients.next() {
            None => whole_or_output,
            Some(features) => policy.combine(trainee, whole_or_output, features),
        };
        let gradient_norm = global_norm(trainee, &gradients);
        if !gradient_norm.is_finite() {
            return Err(TrainError::GradientDiverged {
                step,
                norm: gradient_norm,
            });
        }
        let report = (!observed.is_empty()).then(|| report(step, &trainee.student, observed));
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
            gradients: report,
        })
    }
}

/// The gradient of each part of the objective.
fn report<S: CausalLm, O: Objective>(
    step: usize,
    student: &S,
    observed: Vec<(ObjectivePart, Pass<S, O>)>,
) -> GradientReport {
    let parts = observed.into_iter();
    let parts: Vec<(ObjectivePart, GradientsParams)> =
        parts.map(|(part, pass)| (part, pass.gradients())).collect();
    let report = GradientReport::new(student, &parts);
    for term in &report.terms {
        let (name, norm, cosine) = (&term.term, term.norm, term.cosine);
        tracing::info!(step, term = name, norm, cosine, "gradient of a term");
    }
    report
}

/// Whether any parameter gets a gradient.
struct Trainable(bool);

impl ModuleVisitor for Trainable {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 |= param.val().is_require_grad();
    }
}
