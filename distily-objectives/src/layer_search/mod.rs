//! Which teacher layer each student layer is most like.

mod error;
mod found;
mod gain;
mod monotone;
mod statistics;
#[cfg(test)]
mod tests;

pub use error::LayerSearchError;
pub use found::FoundLayers;

use crate::counting::Counting;
use crate::rms_normalized;
use burn::tensor::{Device, Tensor};
use distily_core::{Feature, Features, ForwardError, LanguageModel, Taps, Teacher, TokenBatch};
use distily_layermap::LayerMap;
use serde::{Deserialize, Serialize};
use statistics::Statistics;

/// Of the norm: far below the mean square of any hidden state.
const EPSILON: f64 = 1e-12;

/// How alike the hidden states of a student layer and of a teacher layer are, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LayerScore {
    /// Centred kernel alignment: 1 - [`cka`](crate::cka). Whether tokens lie to each other as they
    /// do in the teacher, whatever the rotation and the scale. From tokens that are not several
    /// times the width, everything looks alike.
    Cka,
    /// R² of the linear least-squares fit of the teacher's hidden states by the student's: the share
    /// of the teacher layer's variance that a linear projector can reach. (There is a ridge of 1e-4
    /// of each column's variance.) It takes more tokens than the student's width; from n tokens, even
    /// noise of width d explains d / n.
    #[default]
    LinearFit,
}

/// A search for the teacher layer that each student layer should learn from, by the hidden states
/// of calibration batches.
///
/// Every student layer is compared with every teacher layer. The early teacher layers are easy to
/// imitate, and score most with nearly every student layer; so a pair is chosen not for its score
/// but for how far it stands out among the student's layers: by the logarithm of 1 - score, against
/// its mean over them. A student that was made from blocks of its teacher, and trained, finds these
/// blocks again, or their neighbours.
///
/// **What it finds is as good as the student.** The scores of one with random weights say how well a
/// few random blocks imitate each teacher layer, and nothing of where its layers will end up: use a
/// rule of [`LayerMapConfig`](distily_layermap::LayerMapConfig) then. Trained for but a little, its
/// first layers are told apart least. Look at the table before you trust the map.
///
/// ```
/// # use burn::module::Module;
/// # use burn::nn::{Embedding, EmbeddingConfig};
/// # use burn::tensor::Device;
/// # use distily_core::*;
/// # #[derive(Module, Debug)]
/// # struct Model { layers: Vec<Embedding> }
/// # impl Model {
/// #     fn of_layers(&self, layers: &[usize]) -> Self {
/// #         Self { layers: layers.iter().map(|&layer| self.layers[layer].clone()).collect() }
/// #     }
/// # }
/// # impl LanguageModel for Model {
/// #     fn shape(&self) -> ModelShape {
/// #         ModelShape { vocabulary: 64, width: 8, layers: self.layers.len(), ..Default::default() }
/// #     }
/// #     fn device(&self) -> Device { Device::flex() }
/// #     fn head(&self) -> Head { Head::by_vocabulary(self.layers[0].weight.val()) }
/// #     fn forward(&self, batch: &TokenBatch, taps: &Taps) -> Result<Outputs, ForwardError> {
/// #         self.shape().check(batch, taps)?;
/// #         let hidden = self.layers.iter().map(|layer| layer.forward(batch.ids(&self.device())));
/// #         let layers = hidden.clone().enumerate().map(|(layer, hidden)| {
/// #             (layer, LayerFeatures { hidden: Some(hidden), ..Default::default() })
/// #         });
/// #         let features = Features { embedding: None, layers: layers.collect() };
/// #         Ok(Outputs::new(hidden.last().unwrap(), &self.head(), taps).with_features(features))
/// #     }
/// # }
/// # let layers = (0..4).map(|_| EmbeddingConfig::new(64, 8).init(&Device::flex())).collect();
/// # let teacher = Model { layers };
/// # let batches = [TokenBatch::new((0..64).collect(), [4, 16])?];
/// use distily_objectives::LayerSearch;
///
/// // `teacher` has four layers, and `student` is made of two of them.
/// let student = teacher.of_layers(&[1, 3]);
/// let found = LayerSearch::default().run(&student, &LiveTeacher::new(teacher), batches)?;
/// println!("{found}");
/// // R² of a linear fit, for each teacher layer
/// // student      0      1      2      3
/// //       0  0.113 *1.000  0.126  0.106
/// //       1  0.103  0.111  0.127 *1.000
/// assert_eq!(found.map.pairs(), [(0, 1), (1, 3)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LayerSearch {
    /// How layers are compared.
    pub score: LayerScore,
    /// Whether each student layer learns from a later teacher layer than the one before: the best
    /// such map in all is found. (Layers of a student deeper than its teacher share some, but none
    /// goes back.) Otherwise each gets what is best for it alone. `true` if not said.
    pub monotone: bool,
    /// Whether each token's hidden state is divided by its root mean square first, as pre-norm
    /// blocks do when they read it. Otherwise a few tokens of enormous activations decide the scores
    /// of most language models. `true` if not said.
    pub rms_normalized: bool,
}

impl Default for LayerSearch {
    fn default() -> Self {
        Self {
            score: LayerScore::default(),
            monotone: true,
            rms_normalized: true,
        }
    }
}

impl LayerSearch {
    /// Runs the search over the batches' tokens, without padding.
    ///
    /// A batch's hidden states of all layers of both models are held while it is read, and through
    /// the search 4 · d_s · d_t bytes for each pair of layers of widths d, on the student's device:
    /// 340 MB for two models of 12 layers, 768 wide. An autodiff student builds graphs for nothing: give
    /// `&student.valid()`.
    ///
    /// # Errors
    ///
    /// [`LayerSearchError`].
    pub fn run(
        &self,
        student: &dyn LanguageModel,
        teacher: &dyn Teacher,
        batches: impl IntoIterator<Item = TokenBatch>,
    ) -> Result<FoundLayers, LayerSearchError> {
        let [depth, teacher_depth] = [student.shape().layers, teacher.shape().layers];
        // Whether there can be a map is known before a model runs.
        LayerMap::new(depth, teacher_depth, [(0, 0)])?;
        let of_student = Side {
            model: "student",
            layers: depth,
            rms_normalized: self.rms_normalized,
        };
        let of_teacher = Side {
            model: "teacher",
            layers: teacher_depth,
            ..of_student
        };
        let device = student.device().without_autodiff();
        let mut statistics = Statistics::new(depth, teacher_depth);
        let mut tokens = 0;
        for batch in batches {
            let segments = batch.segments().ids().iter();
            let counting: Vec<bool> = segments.map(|&segment| segment != 0).collect();
            let counting = Counting::of(&counting);
            if counting.is_empty() {
                continue;
            }
            tokens += counting.len();
            let outputs = student.forward(&batch, &of_student.taps());
            let outputs = of_student.hidden(outputs.map(|of| of.features), &counting, &device)?;
            let answer = teacher.answer(&batch, &of_teacher.taps());
            let answer = of_teacher.hidden(answer.map(|of| of.features), &counting, &device)?;
            statistics.add(outputs, answer);
        }
        let bound = match self.score {
            LayerScore::Cka => 1,
            LayerScore::LinearFit => student.shape().width,
        };
        if tokens <= bound {
            return Err(LayerSearchError::TooFewTokens { tokens, bound });
        }
        let scores = statistics.scores(self.score)?;
        let gains = gain::gains(&scores);
        let chosen = match self.monotone {
            true => monotone::monotone(&gains),
            false => monotone::best(&gains),
        };
        Ok(FoundLayers {
            map: LayerMap::new(depth, teacher_depth, chosen.into_iter().enumerate())?,
            score: self.score,
            scores,
        })
    }
}

/// What is asked of a model.
#[derive(Clone, Copy)]
struct Side {
    /// `student` or `teacher`.
    model: &'static str,
    layers: usize,
    rms_normalized: bool,
}

impl Side {
    fn taps(&self) -> Taps {
        (0..self.layers).fold(Taps::features_only(), |taps, layer| {
            taps.with(layer, Feature::Hidden)
        })
    }

    /// The hidden states of the tokens that count in each layer, `[tokens, width]`, on `device`.
    fn hidden(
        &self,
        features: Result<Features, ForwardError>,
        counting: &Counting,
        device: &Device,
    ) -> Result<Vec<Tensor<2>>, LayerSearchError> {
        let model = self.model;
        let error = |source| LayerSearchError::Forward { model, source };
        let features = features.map_err(error)?;
        let of_layer = |layer| {
            let hidden = features.hidden(layer).cloned();
            let hidden = hidden.ok_or(error(ForwardError::NotRevealed("its hidden states")))?;
            let hidden = hidden.without_autodiff().to_device(device);
            let hidden = counting.rows(hidden.flatten(0, 1));
            Ok(match self.rms_normalized {
                true => rms_normalized(hidden, EPSILON),
                false => hidden,
            })
        };
        (0..self.layers).map(of_layer).collect()
    }
}
