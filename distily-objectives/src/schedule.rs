use serde::{Deserialize, Serialize};

/// The factor of a term: a number, or one that changes while training goes on.
///
/// ```
/// use distily_objectives::{Ramp, Weight};
///
/// // 1 at first, 0.2 from step 1000 on.
/// let weight = Weight::from(Ramp::new(1.0, 0.2, 1000));
/// assert_eq!([weight.at(0), weight.at(500), weight.at(5000)], [1.0, 0.6, 0.2]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number or a ramp `{ from = 1.0, to = 0.2, steps = 1000 }`, which may also say `start` and `form`"
)]
pub enum Weight {
    /// The same at every step.
    Constant(f64),
    /// From one number to another.
    Ramp(Ramp),
}

/// A weight that goes from one number to another, and stays there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// The weight up to `start`.
    pub from: f64,
    /// The weight from `start + steps` on.
    pub to: f64,
    /// The optimizer steps before it changes; 0 if not said.
    #[serde(default)]
    pub start: usize,
    /// The optimizer steps in which it changes.
    pub steps: usize,
    /// How; evenly if not said.
    #[serde(default)]
    pub form: RampForm,
}

/// How a [`Ramp`] runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RampForm {
    /// By the same amount at every step.
    #[default]
    Linear,
    /// Along half a cosine, slowly at both ends.
    Cosine,
}

impl Ramp {
    /// An even one from the first step on.
    pub fn new(from: f64, to: f64, steps: usize) -> Self {
        Self {
            from,
            to,
            start: 0,
            steps,
            form: RampForm::Linear,
        }
    }
}

impl From<f64> for Weight {
    fn from(weight: f64) -> Self {
        Self::Constant(weight)
    }
}

impl From<Ramp> for Weight {
    fn from(ramp: Ramp) -> Self {
        Self::Ramp(ramp)
    }
}

impl Weight {
    /// The weight after so many optimizer steps.
    pub fn at(&self, step: usize) -> f64 {
        let ramp = match *self {
            Self::Constant(weight) => return weight,
            Self::Ramp(ramp) => ramp,
        };
        let into = step.saturating_sub(ramp.start);
        if into >= ramp.steps {
            return if step < ramp.start {
                ramp.from
            } else {
                ramp.to
            };
        }
        let share = into as f64 / ramp.steps as f64;
        let share = match ramp.form {
            RampForm::Linear => share,
            RampForm::Cosine => (1.0 - (std::f64::consts::PI * share).cos()) / 2.0,
        };
        ramp.from + share * (ramp.to - ramp.from)
    }

    /// Its numbers, with the names that a config has for them.
    pub(crate) fn numbers(&self) -> Vec<(&'static str, f64)> {
        match *self {
            Self::Constant(weight) => vec![("weight", weight)],
            Self::Ramp(ramp) => vec![("weight.from", ramp.from), ("weight.to", ramp.to)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_ramp_runs_from_one_end_to_the_other(
            from in 0f64..5.0, to in 0f64..5.0, start in 0usize..9, steps in 0usize..9,
            cosine in any::<bool>(),
        ) {
            let form = if cosine { RampForm::Cosine } else { RampForm::Linear };
            let weight = Weight::Ramp(Ramp { from, to, start, steps, form });
            let (least, most) = (from.min(to), from.max(to));
            for step in 0..20 {
                let (now, next) = (weight.at(step), weight.at(step + 1));
                prop_assert!((least..=most).contains(&now));
                prop_assert!((next - now) * (to - from) >= -1e-12);
            }
            prop_assert_eq!(weight.at(start + steps), to);
            if start > 0 {
                prop_assert_eq!(weight.at(start - 1), from);
            }
        }
    }

    #[test]
    fn both_forms_are_read_and_a_mistake_says_what_they_are() {
        let read = |text: &str| serde_json::from_str::<Weight>(text);
        assert_eq!(read("2").unwrap(), Weight::Constant(2.0));
        let ramp = r#"{ "from": 1.0, "to": 0.0, "steps": 10, "form": "cosine" }"#;
        assert!((read(ramp).unwrap().at(5) - 0.5).abs() < 1e-12);
        for text in [r#""high""#, r#"{ "from": 1.0, "to": 0.0, "step": 10 }"#] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("a number or a ramp"), "{error}");
        }
    }
}
