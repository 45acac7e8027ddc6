use crate::schedule::LearningRate;
use crate::{Schedule, TrainError};
use distily_objectives::GradientPolicy;
use serde::{Deserialize, Serialize};

/// How a student is trained. The defaults are those of the Python Distily.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Optimizer steps.
    pub steps: usize,
    /// Rows in a batch.
    pub batch_size: usize,
    /// Batches whose gradients are averaged in a step; each token weighs the same.
    pub accumulation: usize,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The peak of the learning rate.
    pub learning_rate: f64,
    /// Where a falling learning rate ends; without it, at a fifth of its peak.
    pub final_learning_rate: Option<f64>,
    /// How it falls.
    pub schedule: Schedule,
    /// The exponent of the polynomial schedule.
    pub power: f64,
    /// The share of the steps in which the learning rate rises.
    pub warmup: f64,
    /// The largest global norm of the gradient; larger ones are scaled down to it.
    pub clip: f64,
    /// What is done where terms on features and terms on the output pull apart.
    pub gradient_policy: GradientPolicy,
    /// Steps between reports on the gradient of each term; 0 for none. A report changes nothing in
    /// the step; it costs a forward and a backward of the student for each term, and memory for as
    /// many gradients.
    pub gradient_report_every: usize,
    /// Steps between evaluations; 0 for none but the last.
    pub evaluate_every: usize,
    /// The seed of everything random.
    pub seed: u64,
}

/// An optimizer and its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// AdamW (Loshchilov and Hutter, 1711.05101).
    AdamW {
        /// Decay of the gradient's mean.
        #[serde(default = "adamw_beta_1")]
        beta_1: f32,
        /// Decay of the squared gradient's mean.
        #[serde(default = "adamw_beta_2")]
        beta_2: f32,
        /// Added to the divisor.
        #[serde(default = "adamw_epsilon")]
        epsilon: f32,
        /// Decoupled weight decay.
        #[serde(default)]
        weight_decay: f32,
    },
    /// Lion (Chen et al., 2302.06675); it wants a learning rate 3 to 10 times smaller than AdamW's.
    Lion {
        /// How much of the momentum is in the update.
        #[serde(default = "adamw_beta_1")]
        beta_1: f32,
        /// Decay of the momentum.
        #[serde(default = "lion_beta_2")]
        beta_2: f32,
        /// Decoupled weight decay.
        #[serde(default)]
        weight_decay: f32,
    },
}

fn adamw_beta_1() -> f32 {
    0.9
}

fn adamw_beta_2() -> f32 {
    0.999
}

fn adamw_epsilon() -> f32 {
    1e-8
}

fn lion_beta_2() -> f32 {
    0.99
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::AdamW {
            beta_1: adamw_beta_1(),
            beta_2: adamw_beta_2(),
            epsilon: adamw_epsilon(),
            weight_decay: 0.0,
        }
    }
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            steps: 1000,
            batch_size: 8,
            accumulation: 1,
            optimizer: OptimizerConfig::default(),
            learning_rate: 1e-4,
            final_learning_rate: None,
            schedule: Schedule::default(),
            power: 0.7,
            warmup: 0.1,
            clip: 1.0,
            gradient_policy: GradientPolicy::default(),
            gradient_report_every: 0,
            evaluate_every: 0,
            seed: 42,
        }
    }
}

impl OptimizerConfig {
    fn check(self) -> Result<(), TrainError> {
        let (beta_1, beta_2, epsilon, weight_decay) = match self {
            Self::AdamW {
                beta_1,
                beta_2,
                epsilon,
                weight_decay,
            } => (beta_1, beta_2, epsilon, weight_decay),
            Self::Lion {
                beta_1,
                beta_2,
                weight_decay,
            } => (beta_1, beta_2, 1.0, weight_decay),
        };
        let unit = 0.0..1.0;
        within("optimizer.beta_1", beta_1, unit.contains(&beta_1), "0 to 1")?;
        within("optimizer.beta_2", beta_2, unit.contains(&beta_2), "0 to 1")?;
        within(
            "optimizer.epsilon",
            epsilon,
            epsilon > 0.0 && epsilon.is_finite(),
            "a positive number",
        )?;
        let decay = weight_decay >= 0.0 && weight_decay.is_finite();
        within("optimizer.weight_decay", weight_decay, decay, "0 or more")
    }
}

fn within(
    field: &'static str,
    got: impl ToString,
    holds: bool,
    expected: &'static str,
) -> Result<(), TrainError> {
    if holds {
        Ok(())
    } else {
        let got = got.to_string();
        Err(TrainError::Config {
            field,
            got,
            expected,
        })
    }
}

impl TrainingConfig {
    /// Whether training can begin with this.
    ///
    /// # Errors
    ///
    /// [`TrainError::Config`] for the first field that is out of range.
    pub fn check(&self) -> Result<(), TrainError> {
        for (field, value) in [
            ("steps", self.steps),
            ("batch_size", self.batch_size),
            ("accumulation", self.accumulation),
        ] {
            within(field, value, value > 0, "1 or more")?;
        }
        for (field, value) in [
            ("learning_rate", self.learning_rate),
            ("power", self.power),
            ("clip", self.clip),
        ] {
            within(
                field,
                value,
                value > 0.0 && value.is_finite(),
                "a positive number",
            )?;
        }
        let end = self.end();
        within(
            "final_learning_rate",
            end,
            (0.0..=self.learning_rate).contains(&end),
            "0 or more, and at most `learning_rate`",
        )?;
        within(
            "warmup",
            self.warmup,
            (0.0..=1.0).contains(&self.warmup),
            "0 to 1",
        )?;
        if let GradientPolicy::Projected { cap } = self.gradient_policy {
            within("gradient_policy.cap", cap, cap > 0.0, "more than 0")?;
        }
        self.optimizer.check()
    }

    fn end(&self) -> f64 {
        self.final_learning_rate.unwrap_or(self.learning_rate / 5.0)
    }

    pub(crate) fn learning_rate(&self) -> LearningRate {
        LearningRate {
            schedule: self.schedule,
            peak: self.learning_rate,
            end: self.end(),
            power: self.power,
            warmup_steps: (self.warmup * self.steps as f64).ceil() as usize,
            steps: self.steps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_named() {
        let config = TrainingConfig {
            warmup: 1.5,
            ..TrainingConfig::default()
        };
        let error = config.check().unwrap_err().to_string();
        assert_eq!(error, "`warmup`: got 1.5, expected 0 to 1");
        assert!(TrainingConfig::default().check().is_ok());
    }

    #[test]
    fn the_rate_never_rises_to_its_end() {
        let mut config = TrainingConfig {
            learning_rate: 1e-5,
            ..TrainingConfig::default()
        };
        config.check().unwrap();
        config.final_learning_rate = Some(2e-5);
        let error = config.check().unwrap_err().to_string();
        assert!(
            error.starts_with("`final_learning_rate`: got 0.00002"),
            "{error}"
        );
    }

    #[test]
    fn a_cap_on_gradients_may_be_infinite_but_not_0() {
        let with = |cap| TrainingConfig {
            gradient_policy: GradientPolicy::Projected { cap },
            ..TrainingConfig::default()
        };
        assert!(with(f64::INFINITY).check().is_ok());
        let error = with(0.0).check().unwrap_err().to_string();
        assert_eq!(error, "`gradient_policy.cap`: got 0, expected more than 0");
        assert!(with(f64::NAN).check().is_err());
    }

    #[test]
    fn an_unknown_field_is_an_error() {
        let error = serde_json::from_str::<TrainingConfig>(r#"{ "step": 3 }"#).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `step`"),
            "{error}"
        );
        let lion = r#"{ "optimizer": { "name": "lion", "weight_decay": 0.1 } }"#;
        let config: TrainingConfig = serde_json::from_str(lion).unwrap();
        assert!(matches!(config.optimizer, OptimizerConfig::Lion { beta_2, .. } if beta_2 == 0.99));
    }
}
