use super::{GenerateError, GenerationConfig};
use rand::{Rng, RngExt};

/// From the logits of one position to a token.
#[derive(Debug, Clone)]
pub struct Sampler {
    temperature: f64,
    top_k: Option<usize>,
    top_p: Option<f64>,
    repetition_penalty: f32,
}

impl Sampler {
    /// The sampler that a configuration describes.
    ///
    /// # Errors
    ///
    /// [`GenerateError::Config`].
    pub fn new(config: &GenerationConfig) -> Result<Self, GenerateError> {
        config.check()?;
        Ok(Self {
            temperature: config.temperature,
            top_k: config.top_k,
            top_p: config.top_p,
            repetition_penalty: config.repetition_penalty as f32,
        })
    }

    /// The token after `before`, of which the model says `logits`.
    pub fn sample(&self, logits: &[f32], before: &[u32], generator: &mut impl Rng) -> u32 {
        let choices = self.distribution(logits, before);
        let mut left = generator.random::<f64>();
        for &(id, probability) in &choices {
            left -= probability;
            if left < 0.0 {
                return id;
            }
        }
        // The probabilities sum to 1 but for rounding.
        choices.last().map_or(0, |&(id, _)| id)
    }

    /// The tokens that may come after `before`, the likeliest first, with their probabilities.
    pub fn distribution(&self, logits: &[f32], before: &[u32]) -> Vec<(u32, f64)> {
        let mut logits = logits.to_vec();
        self.penalise(&mut logits, before);
        if self.temperature == 0.0 {
            return vec![(likeliest(&logits), 1.0)];
        }
        let mut choices: Vec<(u32, f32)> = (0..).zip(logits).collect();
        if let Some(k) = self.top_k
            && k < choices.len()
        {
            choices.select_nth_unstable_by(k - 1, by_logit);
            choices.truncate(k);
        }
        choices.sort_unstable_by(by_logit);
        let highest = choices.first().map_or(0.0, |&(_, logit)| logit);
        let weight = |logit: f32| (f64::from(logit - highest) / self.temperature).exp();
        let mut choices: Vec<(u32, f64)> = choices
            .into_iter()
            .map(|(id, logit)| (id, weight(logit)))
            .collect();
        let mut total: f64 = choices.iter().map(|(_, weight)| weight).sum();
        if let Some(p) = self.top_p {
            // As many as it takes to reach p, and at least one.
            let mut reached = 0.0;
            let kept = choices.iter().take_while(|(_, weight)| {
                let needed = reached < p * total;
                reached += weight;
                needed
            });
            let kept = kept.count().max(1);
            choices.truncate(kept);
            total = choices.iter().map(|(_, weight)| weight).sum();
        }
        for (_, weight) in &mut choices {
            *weight /= total;
        }
        choices
    }

    fn penalise(&self, logits: &mut [f32], before: &[u32]) {
        if self.repetition_penalty == 1.0 {
            return;
        }
        let mut seen: Vec<u32> = before.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit < 0.0 {
                    *logit * self.repetition_penalty
                } else {
                    *logit / self.repetition_penalty
                };
            }
        }
    }
}

/// The highest logit first, and of equal ones the lower id, so that the order is one.
fn by_logit(a: &(u32, f32), b: &(u32, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The first of the highest logits.
fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use distily_core::Seed;

    const LOGITS: [f32; 6] = [1.0, 3.0, -2.0, 2.5, 0.0, 2.0];

    fn sampler(config: GenerationConfig) -> Sampler {
        Sampler::new(&config).unwrap()
    }

    #[test]
    fn the_coldest_is_the_likeliest() {
        let greedy = sampler(GenerationConfig::default());
        assert_eq!(greedy.distribution(&LOGITS, &[]), [(1, 1.0)]);
        // Of equals the first, as torch's argmax.
        assert_eq!(greedy.distribution(&[0.0, 2.0, 2.0], &[]), [(1, 1.0)]);
    }

    #[test]
    fn top_p_keeps_one_at_least_and_all_at_most() {
        let with = |top_p| {
            let config = GenerationConfig {
                temperature: 1.0,
                top_p: Some(top_p),
                ..GenerationConfig::default()
            };
            sampler(config).distribution(&LOGITS, &[]).len()
        };
        assert_eq!(with(1e-9), 1);
        assert_eq!(with(1.0), 6);
    }

    #[test]
    fn a_penalty_lowers_what_was_there_of_either_sign() {
        let config = GenerationConfig {
            repetition_penalty: 2.0,
            ..GenerationConfig::default()
        };
        let mut logits = LOGITS;
        sampler(config).penalise(&mut logits, &[1, 2, 2, 900]);
        assert_eq!(logits, [1.0, 1.5, -4.0, 2.5, 0.0, 2.0]);
    }

    /// Pearson's statistic of 20,000 draws against the 99.9 % quantile of its distribution.
    #[test]
    fn draws_fit_the_distribution() {
        const DRAWS: usize = 20_000;
        let logits: Vec<f32> = (0..40).map(|id| ((id * 37 % 40) as f32).sqrt()).collect();
        for (temperature, top_k, top_p, quantile) in [
            (1.0, None, None, 72.055),          // 39 degrees of freedom
            (0.7, Some(12), None, 31.264),      // 11
            (1.5, Some(30), Some(0.9), 42.312), // 18
        ] {
            let sampler = sampler(GenerationConfig {
                temperature,
                top_k,
                top_p,
                ..GenerationConfig::default()
            });
            let expected = sampler.distribution(&logits, &[]);
            let mut counts = vec![0; logits.len()];
            let mut generator = Seed(11).generator("draws", 0);
            for _ in 0..DRAWS {
                counts[sampler.sample(&logits, &[], &mut generator) as usize] += 1;
            }
            let drawn: usize = expected.iter().map(|&(id, _)| counts[id as usize]).sum();
            assert_eq!(drawn, DRAWS, "a token that may not come was drawn");
            let statistic: f64 = expected
                .iter()
                .map(|&(id, probability)| {
                    let expected = probability * DRAWS as f64;
                    (counts[id as usize] as f64 - expected).powi(2) / expected
                })
                .sum();
            assert!(statistic < quantile, "{statistic} of {quantile}");
        }
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        let default = GenerationConfig::default;
        for (field, config) in [
            (
                "temperature",
                GenerationConfig {
                    temperature: f64::NAN,
                    ..default()
                },
            ),
            (
                "temperature",
                GenerationConfig {
                    temperature: -1.0,
                    ..default()
                },
            ),
            (
                "top_k",
                GenerationConfig {
                    top_k: Some(0),
                    ..default()
                },
            ),
            (
                "top_p",
                GenerationConfig {
                    top_p: Some(1.5),
                    ..default()
                },
            ),
            (
                "repetition_penalty",
                GenerationConfig {
                    repetition_penalty: 0.0,
                    ..default()
                },
            ),
            (
                "stop",
                GenerationConfig {
                    stop: vec![String::new()],
                    ..default()
                },
            ),
        ] {
            let error = Sampler::new(&config).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{field}`: got ")), "{error}");
        }
    }
}
