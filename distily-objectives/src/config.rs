use crate::{Composite, CrossEntropy, DivergenceTerm};
use distily_core::Term;
use distily_kernels::Divergence;
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
    /// What logs call it; the loss' name if not said. Two terms of one loss need two names.
    pub name: Option<String>,
    /// Its factor; 1 if not said.
    #[serde(default = "one")]
    pub weight: f64,
    /// The temperature of a soft loss; 1 if not said.
    pub temperature: Option<f64>,
    /// Whether a soft loss is multiplied by the squared temperature, as Hinton et al. do
    /// (1503.02531); it is if not said.
    #[serde(default = "yes")]
    pub temperature_squared: bool,
}

impl TermConfig {
    /// A loss with weight and temperature 1.
    pub fn new(loss: LossConfig) -> Self {
        Self {
            loss,
            name: None,
            weight: 1.0,
            temperature: None,
            temperature_squared: true,
        }
    }
}

/// A loss by name: `"forward_kl"`, or with its parameters, `{ skew_kl = { alpha = 0.1 } }`. Parameters
/// that are not said are the papers'. See [`Divergence`] for the definitions and their sources.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum LossConfig {
    /// [`Divergence::ForwardKl`].
    ForwardKl,
    /// [`Divergence::ReverseKl`].
    ReverseKl,
    /// [`Divergence::SoftCrossEntropy`].
    SoftCrossEntropy,
    /// [`Divergence::MixedKl`].
    MixedKl {
        /// The share of the reverse KL, 0 to 1.
        #[serde(default = "half")]
        reverse_share: f64,
    },
    /// [`Divergence::JensenShannon`].
    JensenShannon {
        /// β, 0 to 1.
        #[serde(default = "half")]
        beta: f64,
    },
    /// [`Divergence::SkewKl`].
    SkewKl {
        /// α, at least 0 and less than 1.
        #[serde(default = "tenth")]
        alpha: f64,
    },
    /// [`Divergence::SkewReverseKl`].
    SkewReverseKl {
        /// α, at least 0 and less than 1.
        #[serde(default = "tenth")]
        alpha: f64,
    },
    /// [`Divergence::AdaptiveKl`].
    AdaptiveKl {
        /// The mass of the head, 0 to 1.
        #[serde(default = "half")]
        head_mass: f64,
    },
    /// [`Divergence::TotalVariation`].
    TotalVariation,
    /// [`Divergence::AlphaBeta`].
    AlphaBeta {
        /// α.
        alpha: f64,
        /// β.
        beta: f64,
    },
    /// [`Divergence::ProbabilitiesMse`].
    ProbabilitiesMse,
    /// [`Divergence::LogitsMse`].
    LogitsMse,
    /// See [`cross_entropy`](crate::cross_entropy).
    CrossEntropy,
}

impl LossConfig {
    /// As a config spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ForwardKl => "forward_kl",
            Self::ReverseKl => "reverse_kl",
            Self::SoftCrossEntropy => "soft_cross_entropy",
            Self::MixedKl { .. } => "mixed_kl",
            Self::JensenShannon { .. } => "jensen_shannon",
            Self::SkewKl { .. } => "skew_kl",
            Self::SkewReverseKl { .. } => "skew_reverse_kl",
            Self::AdaptiveKl { .. } => "adaptive_kl",
            Self::TotalVariation => "total_variation",
            Self::AlphaBeta { .. } => "alpha_beta",
            Self::ProbabilitiesMse => "probabilities_mse",
            Self::LogitsMse => "logits_mse",
            Self::CrossEntropy => "cross_entropy",
        }
    }

    /// The divergence that it names; `None` for the cross entropy with labels.
    pub fn divergence(self) -> Option<Divergence> {
        Some(match self {
            Self::ForwardKl => Divergence::ForwardKl,
            Self::ReverseKl => Divergence::ReverseKl,
            Self::SoftCrossEntropy => Divergence::SoftCrossEntropy,
            Self::MixedKl { reverse_share } => Divergence::MixedKl { reverse_share },
            Self::JensenShannon { beta } => Divergence::JensenShannon { beta },
            Self::SkewKl { alpha } => Divergence::SkewKl { alpha },
            Self::SkewReverseKl { alpha } => Divergence::SkewReverseKl { alpha },
            Self::AdaptiveKl { head_mass } => Divergence::AdaptiveKl { head_mass },
            Self::TotalVariation => Divergence::TotalVariation,
            Self::AlphaBeta { alpha, beta } => Divergence::AlphaBeta { alpha, beta },
            Self::ProbabilitiesMse => Divergence::ProbabilitiesMse,
            Self::LogitsMse => Divergence::LogitsMse,
            Self::CrossEntropy => return None,
        })
    }

    /// Its parameters with their names, what they are, and whether they are allowed.
    fn parameters(self) -> Vec<(&'static str, f64, bool, &'static str)> {
        let unit = |name, value: f64| (name, value, (0.0..=1.0).contains(&value), "0 to 1");
        let skew = |value: f64| {
            let allowed = (0.0..1.0).contains(&value);
            ("alpha", value, allowed, "at least 0 and less than 1")
        };
        let finite = |name, value: f64| (name, value, value.is_finite(), "a finite number");
        match self {
            Self::MixedKl { reverse_share } => vec![unit("reverse_share", reverse_share)],
            Self::JensenShannon { beta } => vec![unit("beta", beta)],
            Self::SkewKl { alpha } | Self::SkewReverseKl { alpha } => vec![skew(alpha)],
            Self::AdaptiveKl { head_mass } => vec![unit("head_mass", head_mass)],
            Self::AlphaBeta { alpha, beta } => vec![finite("alpha", alpha), finite("beta", beta)],
            _ => Vec::new(),
        }
    }
}

fn one() -> f64 {
    1.0
}

fn half() -> f64 {
    0.5
}

fn tenth() -> f64 {
    0.1
}

fn yes() -> bool {
    true
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
            terms: vec![TermConfig::new(LossConfig::ForwardKl)],
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
        for (field, got, allowed, expected) in self.loss.parameters() {
            if !allowed {
                return out_of_range(field, got, expected);
            }
        }
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| self.loss.name().to_owned());
        let temperature = self.temperature.unwrap_or(1.0);
        let Some(divergence) = self.loss.divergence() else {
            if self.temperature.is_some() {
                let expected = "none: the labels have no temperature";
                return out_of_range("temperature", temperature, expected);
            }
            return Ok(Arc::new(CrossEntropy {
                name,
                weight: self.weight,
            }));
        };
        if !(temperature > 0.0 && temperature.is_finite()) {
            return out_of_range("temperature", temperature, "a positive number");
        }
        Ok(Arc::new(DivergenceTerm {
            name,
            divergence,
            weight: self.weight,
            temperature,
            temperature_squared: self.temperature_squared,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_read_by_its_name() {
        for text in [
            r#""forward_kl""#,
            r#""reverse_kl""#,
            r#""soft_cross_entropy""#,
            "{ mixed_kl = {} }",
            "{ jensen_shannon = { beta = 0.1 } }",
            "{ skew_kl = {} }",
            "{ skew_reverse_kl = {} }",
            "{ adaptive_kl = {} }",
            r#""total_variation""#,
            "{ alpha_beta = { alpha = 0.2, beta = 0.7 } }",
            r#""probabilities_mse""#,
            r#""logits_mse""#,
            r#""cross_entropy""#,
        ] {
            let config = format!("terms = [{{ loss = {text} }}]");
            let config: ObjectiveConfig = toml::from_str(&config).unwrap();
            assert!(text.contains(config.terms[0].loss.name()), "{text}");
            config.build().unwrap();
        }
    }

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
        let error = build("terms = [{ loss = { skew_kl = { alpha = 1.0 } } }]").unwrap_err();
        assert!(
            error.to_string().contains("`alpha`: got 1, expected"),
            "{error}"
        );
        for weight in ["-1.0", "nan", "inf"] {
            let text = format!("terms = [{{ loss = \"reverse_kl\", weight = {weight} }}]");
            assert!(build(&text).is_err(), "{weight}");
        }
        let unknown = toml::from_str::<ObjectiveConfig>(r#"terms = [{ loss = "kl" }]"#);
        assert!(unknown.unwrap_err().to_string().contains("forward_kl"));
    }
}
