use crate::features::Moments;
use crate::{
    NormConfig, Projector, Weight, Whitening, WhiteningError, layer_normalized, rms_normalized,
};
use burn::module::Module;
use burn::tensor::Tensor;
use distily_core::{Comparison, Feature, Features, ModelShape, ObjectiveError, Segments, Taps};
use std::fmt;
use std::sync::Arc;

type OfHidden = dyn Fn(Tensor<2>, Tensor<2>, Tensor<1>) -> Tensor<1> + Send + Sync;
type OfHeads = dyn Fn(Tensor<4>, Tensor<4>, &Segments, Tensor<1>) -> Tensor<1> + Send + Sync;

/// What two layers are compared by: the student's feature, the teacher's, and the weights of the
/// tokens.
pub(crate) enum FeatureLoss {
    /// Hidden states, `[tokens, width]`.
    Hidden(Box<OfHidden>),
    /// The mean over some features that have heads, `[batch, heads, seq, _]`.
    Heads(Vec<Feature>, Box<OfHeads>),
}

impl FeatureLoss {
    pub(crate) fn hidden(
        loss: impl Fn(Tensor<2>, Tensor<2>, Tensor<1>) -> Tensor<1> + Send + Sync + 'static,
    ) -> Self {
        Self::Hidden(Box::new(loss))
    }

    pub(crate) fn heads(
        of: Vec<Feature>,
        loss: impl Fn(Tensor<4>, Tensor<4>, &Segments, Tensor<1>) -> Tensor<1> + Send + Sync + 'static,
    ) -> Self {
        Self::Heads(of, Box::new(loss))
    }

    fn features(&self) -> &[Feature] {
        match self {
            Self::Hidden(_) => &[Feature::Hidden],
            Self::Heads(features, _) => features,
        }
    }
}

impl fmt::Debug for FeatureLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FeatureLoss")
            .field(&self.features())
            .finish()
    }
}

/// What a term on features is, apart from what is trained.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) weight: Weight,
    pub(crate) loss: FeatureLoss,
    pub(crate) norm: Option<NormConfig>,
    /// The models that it was made for.
    pub(crate) student: ModelShape,
    pub(crate) teacher: ModelShape,
}

/// A loss on features: its mean over pairs of layers, each with a projector of its own.
#[derive(Module, Debug)]
pub(crate) struct FeatureTerm {
    #[module(skip)]
    settings: Arc<Settings>,
    pairs: Vec<Pair>,
}

/// A student layer, and a teacher layer that it learns from.
#[derive(Module, Debug)]
pub(crate) struct Pair {
    #[module(skip)]
    pub(crate) student: usize,
    #[module(skip)]
    pub(crate) teacher: usize,
    pub(crate) projector: Option<Projector>,
    whitening: Option<Whitening>,
}

impl Pair {
    pub(crate) fn new(student: usize, teacher: usize, projector: Option<Projector>) -> Self {
        Self {
            student,
            teacher,
            projector,
            whitening: None,
        }
    }
}

impl FeatureTerm {
    pub(crate) fn new(settings: Settings, pairs: Vec<Pair>) -> Self {
        Self {
            settings: Arc::new(settings),
            pairs,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(crate) fn weight(&self, step: usize) -> f64 {
        self.settings.weight.at(step)
    }

    pub(crate) fn taps(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<(Taps, Taps), ObjectiveError> {
        let settings = &self.settings;
        for (side, made_for, got) in [
            ("student", &settings.student, student),
            ("teacher", &settings.teacher, teacher),
        ] {
            if made_for != got {
                return Err(self.mismatch(format!(
                    "it was built for the {side} {made_for:?}, and got {got:?}: build the objective for the models that it is used with"
                )));
            }
        }
        if self.lacks_whitening() {
            return Err(self.mismatch(
                "its norm \"whitened\" needs calibration: call `Composite::calibrated` first"
                    .into(),
            ));
        }
        Ok(self.all_taps())
    }

    fn all_taps(&self) -> (Taps, Taps) {
        let mut taps = (Taps::features_only(), Taps::features_only());
        for pair in &self.pairs {
            for &feature in self.settings.loss.features() {
                taps.0 = taps.0.with(pair.student, feature);
                taps.1 = taps.1.with(pair.teacher, feature);
            }
        }
        taps
    }

    /// Its unweighted value, `[1]`.
    pub(crate) fn value(&self, comparison: &Comparison<'_>) -> Result<Tensor<1>, ObjectiveError> {
        let device = comparison.student.hidden.device();
        let weights = comparison.weights(&device);
        let (of_student, of_teacher) = (&comparison.student.features, &comparison.teacher.features);
        let mut sum: Option<Tensor<1>> = None;
        let mut add = |value: Tensor<1>| {
            sum = Some(match sum.take() {
                None => value,
                Some(before) => before + value,
            });
        };
        for pair in &self.pairs {
            match &self.settings.loss {
                FeatureLoss::Hidden(loss) => {
                    let student = self.hidden("student", of_student, pair.student)?;
                    let teacher = self.hidden("teacher", of_teacher, pair.teacher)?;
                    let student = match &pair.projector {
                        Some(projector) => projector.forward(student),
                        None => student,
                    };
                    let teacher = self.normalized(teacher, pair)?;
                    add(loss(student, teacher, weights.clone()));
                }
                FeatureLoss::Heads(features, loss) => {
                    for &feature in features {
                        let student = self.heads("student", of_student, pair.student, feature)?;
                        let teacher = self.heads("teacher", of_teacher, pair.teacher, feature)?;
                        let segments = comparison.batch.segments();
                        add(loss(student, teacher, segments, weights.clone()));
                    }
                }
            }
        }
        let terms = self.pairs.len() * self.settings.loss.features().len();
        let sum = sum.unwrap_or_else(|| Tensor::zeros([1], &device));
        Ok(sum.div_scalar(terms.max(1) as f64))
    }

    fn normalized(&self, teacher: Tensor<2>, pair: &Pair) -> Result<Tensor<2>, ObjectiveError> {
        /// As small as what burn and transformers add to a variance.
        const EPSILON: f64 = 1e-5;
        Ok(match (self.settings.norm, &pair.whitening) {
            (None, _) => teacher,
            (Some(NormConfig::Layer), _) => layer_normalized(teacher, EPSILON),
            (Some(NormConfig::Rms), _) => rms_normalized(teacher, EPSILON),
            (Some(NormConfig::Whitened { .. }), Some(whitening)) => whitening.apply(teacher),
            (Some(NormConfig::Whitened { .. }), None) => {
                return Err(self.mismatch("its whitening is not calibrated".into()));
            }
        })
    }

    fn hidden(
        &self,
        side: &str,
        features: &Features,
        layer: usize,
    ) -> Result<Tensor<2>, ObjectiveError> {
        match features.hidden(layer) {
            Some(hidden) => Ok(hidden.clone().flatten(0, 1)),
            None => Err(self.not_tapped(side, layer, Feature::Hidden)),
        }
    }

    fn heads(
        &self,
        side: &str,
        features: &Features,
        layer: usize,
        feature: Feature,
    ) -> Result<Tensor<4>, ObjectiveError> {
        features
            .heads(layer, feature)
            .cloned()
            .ok_or_else(|| self.not_tapped(side, layer, feature))
    }

    fn not_tapped(&self, side: &str, layer: usize, feature: Feature) -> ObjectiveError {
        self.mismatch(format!(
            "the {side} gave no {feature:?} of layer {layer}: run it with the objective's taps"
        ))
    }

    fn mismatch(&self, problem: String) -> ObjectiveError {
        ObjectiveError::Mismatch {
            term: self.settings.name.clone(),
            problem,
        }
    }

    fn lacks_whitening(&self) -> bool {
        matches!(self.settings.norm, Some(NormConfig::Whitened { .. }))
            && self.pairs.iter().any(|pair| pair.whitening.is_none())
    }

    /// What has to be seen of a teacher before its features can be whitened; `None` if nothing.
    pub(crate) fn calibration(&self) -> Option<Calibration> {
        self.lacks_whitening().then(|| Calibration {
            taps: self.all_taps().1,
            moments: vec![Moments::new(self.settings.teacher.width); self.pairs.len()],
        })
    }

    /// Looks at a teacher's features of one batch.
    pub(crate) fn calibrate(
        &self,
        calibration: &mut Calibration,
        teacher: &Features,
        weights: &Tensor<1>,
    ) -> Result<(), ObjectiveError> {
        for (pair, moments) in self.pairs.iter().zip(&mut calibration.moments) {
            let hidden = self.hidden("teacher", teacher, pair.teacher)?;
            let seen = moments.add(hidden, weights.clone());
            seen.map_err(|problem| self.whitening_failed(pair.teacher, problem))?;
        }
        Ok(())
    }

    /// This term with the whitenings of what was seen.
    pub(crate) fn calibrated(
        mut self,
        calibration: &Calibration,
        device: &burn::tensor::Device,
    ) -> Result<Self, ObjectiveError> {
        let Some(NormConfig::Whitened { shrinkage }) = self.settings.norm else {
            return Ok(self);
        };
        let mut pairs = std::mem::take(&mut self.pairs);
        for (pair, moments) in pairs.iter_mut().zip(&calibration.moments) {
            let whitening = moments.whitening(shrinkage, device);
            pair.whitening =
                Some(whitening.map_err(|problem| self.whitening_failed(pair.teacher, problem))?);
        }
        self.pairs = pairs;
        Ok(self)
    }

    fn whitening_failed(&self, layer: usize, problem: WhiteningError) -> ObjectiveError {
        self.mismatch(format!(
            "teacher layer {layer} can't be whitened: {problem}"
        ))
    }
}

/// What was seen of a teacher so far, for each pair.
pub(crate) struct Calibration {
    pub(crate) taps: Taps,
    moments: Vec<Moments>,
}
