use crate::feature_term::{Calibration, FeatureTerm};
use crate::output_pass::output_pass;
use crate::projected_logits::ProjectedLogits;
use burn::module::Module;
use burn::tensor::Tensor;
use distily_core::{
    Comparison, LossTerms, ModelShape, NamedLoss, Objective, ObjectiveError, ObjectivePart,
    OutputLoss, Taps, Teacher, Term, TokenBatch,
};
use std::sync::Arc;

/// A weighted sum of terms: the [`Objective`] that a config describes. Terms of your own go in
/// beside the built-in ones.
///
/// It is a module because its projectors are trained with the student; a checkpoint of both keeps
/// them, and an exported student has none.
///
/// Its output losses are fused: logits are computed once for all of them, a chunk of tokens at a
/// time, and never held for a whole batch; see [`through_head`](crate::through_head). Those that need
/// all tokens at once, [`sinkhorn`](crate::sinkhorn) and logits through a projector, are not.
#[derive(Module, Debug)]
pub struct Composite {
    parts: Vec<Part>,
    #[module(skip)]
    chunk: Option<usize>,
}

/// A term, with what of it is trained.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // There are a few of them, and their tensors are far larger.
pub(crate) enum Part {
    Term(PlainTerm),
    Features(FeatureTerm),
    ProjectedLogits(ProjectedLogits),
}

/// A term without parameters.
#[derive(Module, Debug)]
pub(crate) struct PlainTerm {
    #[module(skip)]
    term: Arc<dyn Term>,
}

impl Part {
    pub(crate) fn term(term: Arc<dyn Term>) -> Self {
        Self::Term(PlainTerm { term })
    }

    fn name(&self) -> &str {
        match self {
            Self::Term(PlainTerm { term }) => term.name(),
            Self::Features(term) => term.name(),
            Self::ProjectedLogits(projected) => &projected.term.name,
        }
    }

    fn weight(&self, step: usize) -> f64 {
        match self {
            Self::Term(PlainTerm { term }) => term.weight(step),
            Self::Features(term) => term.weight(step),
            Self::ProjectedLogits(projected) => projected.term.weight.at(step),
        }
    }

    fn taps(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<(Taps, Taps), ObjectiveError> {
        match self {
            Self::Term(PlainTerm { term }) => term.taps(student, teacher),
            Self::Features(term) => term.taps(student, teacher),
            Self::ProjectedLogits(projected) => projected.taps(student, teacher),
        }
    }

    fn value(&self, comparison: &Comparison<'_>) -> Result<Tensor<1>, ObjectiveError> {
        match self {
            Self::Term(PlainTerm { term }) => term.value(comparison),
            Self::Features(term) => term.value(comparison),
            Self::ProjectedLogits(projected) => projected.value(comparison),
        }
    }

    fn described(&self) -> ObjectivePart {
        ObjectivePart {
            name: self.name().to_owned(),
            output: self.is_of_output(),
        }
    }

    fn is_of_output(&self) -> bool {
        match self {
            Self::Term(PlainTerm { term }) => term.is_of_output(),
            Self::Features(_) => false,
            Self::ProjectedLogits(_) => true,
        }
    }

    fn output_loss(&self) -> Option<&dyn OutputLoss> {
        match self {
            Self::Term(PlainTerm { term }) => term.output_loss(),
            Self::Features(_) | Self::ProjectedLogits(_) => None,
        }
    }
}

impl Composite {
    /// The sum of these terms; `None` without any.
    pub fn new(terms: Vec<Arc<dyn Term>>) -> Option<Self> {
        let parts: Vec<Part> = terms.into_iter().map(Part::term).collect();
        (!parts.is_empty()).then(|| Self::of(parts))
    }

    /// The sum of these parts, which must not be empty.
    pub(crate) fn of(parts: Vec<Part>) -> Self {
        Self { parts, chunk: None }
    }

    /// The same and a term of your own.
    pub fn with(mut self, term: Arc<dyn Term>) -> Self {
        self.parts.push(Part::term(term));
        self
    }

    /// The same with another number of tokens whose logits are computed at a time than
    /// [`default_chunk`](crate::default_chunk) says.
    pub fn with_chunk(mut self, tokens: usize) -> Self {
        self.chunk = Some(tokens.max(1));
        self
    }

    /// The same with what its norms have to know of a teacher beforehand, from some batches: more
    /// tokens than the teacher is wide must be scored in them. Without a norm that has to know
    /// anything, no batch is run.
    ///
    /// # Errors
    ///
    /// [`ObjectiveError`]: the teacher can't answer, or its features can't be whitened.
    pub fn calibrated(
        mut self,
        teacher: &dyn Teacher,
        batches: impl IntoIterator<Item = TokenBatch>,
    ) -> Result<Self, ObjectiveError> {
        let mut calibrations: Vec<Option<Calibration>> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Features(term) => term.calibration(),
                Part::Term(_) | Part::ProjectedLogits(_) => None,
            })
            .collect();
        let taps = calibrations.iter().flatten().map(|of_part| &of_part.taps);
        let Some(taps) = taps.cloned().reduce(|union, taps| union.union(&taps)) else {
            return Ok(self);
        };
        let mut device = None;
        for batch in batches {
            let answer = teacher.answer(&batch, &taps)?;
            let hidden = answer
                .features
                .layers
                .values()
                .find_map(|layer| layer.hidden.as_ref());
            let on = hidden.map_or_else(Default::default, Tensor::device);
            let weights = batch.prediction_weights(batch.predictions(), &on);
            for (part, calibration) in self.parts.iter().zip(&mut calibrations) {
                if let (Part::Features(term), Some(calibration)) = (part, calibration) {
                    term.calibrate(calibration, &answer.features, &weights)?;
                }
            }
            device = Some(on);
        }
        let device = device.unwrap_or_default();
        self.parts = self
            .parts
            .into_iter()
            .zip(&calibrations)
            .map(|(part, calibration)| match (part, calibration) {
                (Part::Features(term), Some(calibration)) => {
                    Ok(Part::Features(term.calibrated(calibration, &device)?))
                }
                (part, _) => Ok(part),
            })
            .collect::<Result<_, ObjectiveError>>()?;
        Ok(self)
    }
}

impl Objective for Composite {
    fn taps(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<(Taps, Taps), ObjectiveError> {
        let mut taps = (Taps::features_only(), Taps::features_only());
        for part in &self.parts {
            let (of_student, of_teacher) = part.taps(student, teacher)?;
            taps = (taps.0.union(&of_student), taps.1.union(&of_teacher));
        }
        Ok(taps)
    }

    fn evaluate(&self, comparison: &Comparison<'_>) -> Result<LossTerms, ObjectiveError> {
        let step = comparison.step;
        let output: Vec<(f64, &dyn OutputLoss)> = self
            .parts
            .iter()
            .filter_map(|part| Some((part.weight(step), part.output_loss()?)))
            .collect();
        let mut total = None;
        let mut of_output = Vec::new().into_iter();
        if !output.is_empty() {
            let pass = output_pass(&output, comparison, self.chunk)?;
            total = Some(pass.total);
            of_output = pass.values.into_iter();
        }
        let mut terms = Vec::new();
        for part in &self.parts {
            let weight = part.weight(step);
            let value = match part.output_loss().and_then(|_| of_output.next()) {
                Some(value) => value,
                None => {
                    let value = part.value(comparison)?;
                    let weighted = value.clone().mul_scalar(weight);
                    total = Some(match total {
                        None => weighted,
                        Some(sum) => sum + weighted,
                    });
                    value
                }
            };
            terms.push(NamedLoss {
                name: part.name().to_owned(),
                weight,
                value,
            });
        }
        Ok(LossTerms {
            total: total.expect("there is a part"),
            terms,
        })
    }

    fn parts(&self) -> Vec<ObjectivePart> {
        self.parts.iter().map(Part::described).collect()
    }

    fn only(&self, keep: impl Fn(&ObjectivePart) -> bool) -> Option<Self> {
        let parts = self.parts.iter().filter(|part| keep(&part.described()));
        let parts: Vec<Part> = parts.cloned().collect();
        (!parts.is_empty()).then_some(Self {
            parts,
            chunk: self.chunk,
        })
    }
}
