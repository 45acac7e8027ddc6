use crate::{ProjectorConfigError, RelationHeadsError};
use distily_layermap::LayerMapError;
use thiserror::Error;

/// Why a config is no objective for two models. Terms are counted from 0.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ObjectiveConfigError {
    /// No terms.
    #[error("`terms` is empty: name at least one loss")]
    NoTerms,
    /// A number out of range.
    #[error("term {term}: `{field}`: got {got}, expected {expected}")]
    OutOfRange {
        /// Which term.
        term: usize,
        /// The field.
        field: &'static str,
        /// Its value.
        got: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// Logs could not tell two terms apart.
    #[error("term {term}: `name`: term {first} is called {name:?}, too: give one another name")]
    NameTwice {
        /// Which term.
        term: usize,
        /// The first of this name.
        first: usize,
        /// The name.
        name: String,
    },
    /// A field that says nothing about this loss.
    #[error("term {term}: `{field}` means nothing for {loss}: remove it")]
    MeansNothing {
        /// Which term.
        term: usize,
        /// The field.
        field: &'static str,
        /// The loss.
        loss: &'static str,
    },
    /// The layers can't be paired.
    #[error("term {term}: `layers`: {problem}")]
    Layers {
        /// Which term.
        term: usize,
        /// Why.
        #[source]
        problem: LayerMapError,
    },
    /// Relation heads that do not divide a width.
    #[error("term {term}: {problem}")]
    RelationHeads {
        /// Which term.
        term: usize,
        /// Which width.
        #[source]
        problem: RelationHeadsError,
    },
    /// A relation loss of nothing.
    #[error("term {term}: `of` is empty: name at least one of query, key and value")]
    NoRelations {
        /// Which term.
        term: usize,
    },
    /// A loss on attention, of a model that has none.
    #[error("term {term}: {loss} needs attention heads, and the {side} has none")]
    NoAttention {
        /// Which term.
        term: usize,
        /// The loss.
        loss: &'static str,
        /// Which model.
        side: &'static str,
    },
    /// Hidden states of unequal widths, and nothing between them.
    #[error(
        "term {term}: {loss} can't compare hidden states of width {student} with those of width {teacher}: name a `projector`, \"linear\" say"
    )]
    NoProjector {
        /// Which term.
        term: usize,
        /// The loss.
        loss: &'static str,
        /// The student's width.
        student: usize,
        /// The teacher's.
        teacher: usize,
    },
    /// A projector of logits that would be enormous.
    #[error(
        "term {term}: `projector`: one of logits has {student} times {teacher} weights, the vocabularies' sizes: project hidden states instead"
    )]
    LargeVocabularies {
        /// Which term.
        term: usize,
        /// The student's vocabulary.
        student: usize,
        /// The teacher's.
        teacher: usize,
    },
    /// A projector that can't be.
    #[error("term {term}: `projector`: {problem}")]
    Projector {
        /// Which term.
        term: usize,
        /// Why.
        #[source]
        problem: ProjectorConfigError,
    },
}
