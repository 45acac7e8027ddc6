use crate::{Composite, CrossEntropy, ForwardKl};
use distily_core::Term;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;

/// An objective as a config file says it: a list of terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// The terms; at least one.
    pub terms: Vec<TermConfig>,
}

/// One term of an [`ObjectiveConfig`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermConfig {
    /// Which loss.
    pub loss: LossConfig,
    /// Its factor; 1 if not said.
    #[serde(default = "one")]
    pub weight: f64,
    /// The temperature of a soft loss; 1 if not said.
    pub temperature: Option<f64>,
}

/// A loss by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LossConfig {
    /// See [`forward_kl`](crate::forward_kl).
    ForwardKl,
    /// See [`cross_entropy`](crate::cross_entropy).
    CrossEntropy,
}

fn one() -> f64 {
    1.0
}

/// Why a config is no objective.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ObjectiveConfigError {
    /// No terms.
    #[error("`terms` is empty: name at least one loss")]
    NoTerms,
    /// A number out of range.
    #[error("term {term}: `{field}`: got {got}, expected {expected}")]
    OutOfRange {
        /// Which term, from 0.
        term: usize,
        /// The field.
        field: &'static str,
        /// Its value.
        got: f64,
        /// What it may be.
        expected: &'static str,
    },
}

impl Default for ObjectiveConfig {
    /// Forward KL alone.
    fn default() -> Self {
        Self {
            terms: vec![TermConfig {
                loss: LossConfig::ForwardKl,
                weight: 1.0,
                temperature: None,
            }],
        }
    }
}

impl ObjectiveConfig {
    /// The objective.
    ///
    /// # Errors
    ///
    /// [`ObjectiveConfigError`], naming the term and the field.
    pub fn build(&self) -> Result<Composite, ObjectiveConfigError> {
        let terms = self
            .terms
            .iter()
            .enumerate()
            .map(|(index, term)| term.build(index));
        Composite::new(terms.collect::<Result<_, _>>()?).ok_or(ObjectiveConfigError::NoTerms)
    }
}

impl TermConfig {
    fn build(&self, term: usize) -> Result<Arc<dyn Term>, ObjectiveConfigError> {
        let out_of_range = |field, got, expected| {
            Err(ObjectiveConfigError::OutOfRange {
                term,
                field,
                got,
                expected,
            })
        };
        if !(self.weight >= 0.0 && self.weight.is_finite()) {
            return out_of_range("weight", self.weight, "0 or more");
        }
        let temperature = self.temperature.unwrap_or(1.0);
        if !(temperature > 0.0 && temperature.is_finite()) {
            return out_of_range("temperature", temperature, "a positive number");
        }
        Ok(match self.loss {
            LossConfig::ForwardKl => Arc::new(ForwardKl {
                weight: self.weight,
                temperature,
            }),
            LossConfig::CrossEntropy if self.temperature.is_some() => {
                return out_of_range(
                    "temperature",
                    temperature,
                    "none: cross entropy has no temperature",
                );
            }
            LossConfig::CrossEntropy => Arc::new(CrossEntropy {
                weight: self.weight,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_named() {
        let build = |text: &str| toml::from_str::<ObjectiveConfig>(text).unwrap().build();
        assert_eq!(
            build("terms = []").unwrap_err(),
            ObjectiveConfigError::NoTerms
        );
        let error = build(r#"terms = [{ loss = "forward_kl", temperature = 0.0 }]"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "term 0: `temperature`: got 0, expected a positive number"
        );
        let unknown = toml::from_str::<ObjectiveConfig>(r#"terms = [{ loss = "kl" }]"#);
        assert!(unknown.unwrap_err().to_string().contains("forward_kl"));
    }
}
