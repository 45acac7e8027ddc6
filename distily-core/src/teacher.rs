use crate::{Features, ForwardError, Head, LanguageModel, ModelShape, Taps, TokenBatch};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

/// What a teacher says about the next token at every position.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one at a time, and its tensors are far larger
#[non_exhaustive]
pub enum Distribution {
    /// Logits, `[batch, seq, vocabulary]`.
    Logits(Tensor<3>),
    /// The hidden state `[batch, seq, width]` and the head that turns it into logits, so that a
    /// loss can compute them a chunk of tokens at a time.
    Hidden(Tensor<3>, Box<Head>),
    /// The probabilities of some ids at each position, `[batch, seq, k]`, and of all others
    /// together, `[batch, seq]`: what a recording keeps.
    Sparse {
        /// The ids; entries of probability 0 fill rows up.
        ids: Tensor<3, Int>,
        /// Their probabilities.
        probabilities: Tensor<3>,
        /// The mass of all other ids; 0 where the ids were drawn at random.
        tail: Tensor<2>,
        /// What the logits were divided by.
        temperature: f64,
    },
    /// The taps did not want it: see [`Taps::wants_output`].
    NotAsked,
}

/// A teacher's answer to a batch.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The next-token distribution.
    pub distribution: Distribution,
    /// The tapped features.
    pub features: Features,
}

/// Whoever knows more: a live model, a recording, a remote server; object-safe, used as
/// `Arc<dyn Teacher>`.
///
/// A teacher is never a burn module: it builds no graph, has no optimizer state, and is in no
/// checkpoint.
pub trait Teacher: Debug + Send + Sync {
    /// The teacher's sizes.
    fn shape(&self) -> ModelShape;

    /// Answers a batch with a next-token distribution and the tapped features.
    ///
    /// # Errors
    ///
    /// Whatever keeps the teacher from answering.
    fn answer(&self, batch: &TokenBatch, taps: &Taps) -> Result<Answer, ForwardError>;

    /// The same teacher for another device.
    fn on(&self, device: &Device) -> Arc<dyn Teacher>;
}

/// A language model in memory that teaches.
#[derive(Debug)]
pub struct LiveTeacher<M> {
    /// burn's modules are `Send` but promise no `Sync`.
    model: Mutex<M>,
    shape: ModelShape,
}

impl<M: LanguageModel + Module> LiveTeacher<M> {
    /// The model is taken off its autodiff device if it is on one: a teacher builds no graph.
    pub fn new(model: M) -> Self {
        Self {
            shape: model.shape(),
            model: Mutex::new(model.valid()),
        }
    }

    /// A copy that shares the weights, so that the lock is not held while it answers.
    fn model(&self) -> M {
        // A model has no state that a panic elsewhere could leave half changed.
        self.model
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

impl<M: LanguageModel + Module + 'static> Teacher for LiveTeacher<M> {
    fn shape(&self) -> ModelShape {
        self.shape.clone()
    }

    fn answer(&self, batch: &TokenBatch, taps: &Taps) -> Result<Answer, ForwardError> {
        let model = self.model();
        let outputs = model.forward(batch, taps)?;
        let distribution = match outputs.logits {
            Some(logits) => Distribution::Logits(logits),
            None if !taps.wants_output() => Distribution::NotAsked,
            None => Distribution::Hidden(outputs.hidden, Box::new(model.head())),
        };
        Ok(Answer {
            distribution,
            features: outputs.features,
        })
    }

    fn on(&self, device: &Device) -> Arc<dyn Teacher> {
        let model = self.model();
        Arc::new(Self::new(model.fork(&device.clone().without_autodiff())))
    }
}
