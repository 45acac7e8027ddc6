use crate::ModelError;
use crate::attention::Angles;
use burn::tensor::{Device, Tensor, TensorData};
use distily_core::TokenBatch;
use std::f64::consts::PI;

/// Rotary positions: pair `i` of `n` in a head turns by position · theta^(-i/n) (Su et al.,
/// 2104.09864).
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// The base of the frequencies.
    pub theta: f64,
    /// The share of a head that turns, in (0, 1]; the rest stays as it is.
    pub turning_share: f64,
    /// How the frequencies are changed for long contexts.
    pub scaling: Option<RopeScaling>,
}

/// A change of the rotary frequencies.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// Position interpolation: every frequency is divided by `factor` (Chen et al., 2306.15595).
    Linear {
        /// Divisor of the frequencies.
        factor: f64,
    },
    /// Llama 3.1's: low frequencies are divided by `factor`, high ones are kept, those between are
    /// blended.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Turns over the original context below which a frequency is low.
        low_frequency_factor: f64,
        /// Turns over the original context above which a frequency is high.
        high_frequency_factor: f64,
        /// The context that the model was first trained on.
        original_positions: usize,
    },
    /// LongRoPE: each frequency has a divisor of its own, one up to the original context and
    /// another beyond it (Ding et al., 2402.13753).
    LongRope {
        /// Divisors of the frequencies, one for each pair, for batches within the original context.
        short_factors: Vec<f64>,
        /// The same for batches with a position beyond it.
        long_factors: Vec<f64>,
        /// The context that the model was first trained on.
        original_positions: usize,
        /// A factor on the turned queries and keys.
        attention_factor: f64,
    },
}

impl Default for Rope {
    fn default() -> Self {
        Self {
            theta: 10_000.0,
            turning_share: 1.0,
            scaling: None,
        }
    }
}

impl Rope {
    /// Pairs of a head that turn.
    fn pairs(&self, head_width: usize) -> usize {
        (head_width as f64 * self.turning_share) as usize / 2
    }

    pub(crate) fn check(&self, origin: &str, head_width: usize) -> Result<(), ModelError> {
        let error = |field: &str, problem: String| Err(ModelError::config(origin, field, problem));
        let positive = |field, value: f64| {
            if value > 0.0 && value.is_finite() {
                Ok(())
            } else {
                error(field, format!("got {value}, expected a positive number"))
            }
        };
        positive("rope_theta", self.theta)?;
        let share = self.turning_share;
        let turning = (head_width as f64 * share) as usize;
        if !(share > 0.0 && share <= 1.0) || turning < 2 || turning % 2 == 1 {
            let problem = format!(
                "got {share}, expected a share of the head's {head_width} elements that is an even number"
            );
            return error("partial_rotary_factor", problem);
        }
        match &self.scaling {
            None => Ok(()),
            Some(RopeScaling::Linear { factor }) => positive("rope_scaling.factor", *factor),
            Some(RopeScaling::Llama3 {
                factor,
                low_frequency_factor: low,
                high_frequency_factor: high,
                original_positions,
            }) => {
                positive("rope_scaling.factor", *factor)?;
                positive("rope_scaling.low_freq_factor", *low)?;
                positive(
                    "rope_scaling.original_max_position_embeddings",
                    *original_positions as f64,
                )?;
                if high.partial_cmp(low) != Some(std::cmp::Ordering::Greater) {
                    let problem = format!("got {high}, expected more than low_freq_factor, {low}");
                    return error("rope_scaling.high_freq_factor", problem);
                }
                Ok(())
            }
            Some(RopeScaling::LongRope {
                short_factors,
                long_factors,
                original_positions,
                attention_factor,
            }) => {
                for (field, factors) in [
                    ("rope_scaling.short_factor", short_factors),
                    ("rope_scaling.long_factor", long_factors),
                ] {
                    if factors.len() != turning / 2 {
                        let problem = format!(
                            "got {} factors, expected one for each of the {} pairs of a head",
                            factors.len(),
                            turning / 2
                        );
                        return error(field, problem);
                    }
                    factors
                        .iter()
                        .try_for_each(|&factor| positive(field, factor))?;
                }
                positive(
                    "original_max_position_embeddings",
                    *original_positions as f64,
                )?;
                positive("rope_scaling.attention_factor", *attention_factor)
            }
        }
    }

    /// Radians per position of each pair of a head, in a batch whose longest sequence has `length`
    /// tokens.
    fn frequencies(&self, head_width: usize, length: usize) -> Vec<f32> {
        let pairs = self.pairs(head_width);
        (0..pairs)
            .map(|pair| {
                let frequency = self.theta.powf(-(pair as f64) / pairs as f64);
                match &self.scaling {
                    None => frequency,
                    Some(RopeScaling::Linear { factor }) => frequency / factor,
                    Some(RopeScaling::Llama3 {
                        factor,
                        low_frequency_factor: low,
                        high_frequency_factor: high,
                        original_positions,
                    }) => {
                        let turns = *original_positions as f64 * frequency / (2.0 * PI);
                        let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                        ((1.0 - kept) / factor + kept) * frequency
                    }
                    Some(RopeScaling::LongRope {
                        short_factors,
                        long_factors,
                        original_positions,
                        ..
                    }) => {
                        let factors = if length > *original_positions {
                            long_factors
                        } else {
                            short_factors
                        };
                        frequency / factors[pair]
                    }
                }
            })
            .map(|frequency| frequency as f32)
            .collect()
    }

    /// The angles of a batch in which the longest sequence, what is cached included, has `length`
    /// tokens.
    pub(crate) fn angles(
        &self,
        batch: &TokenBatch,
        length: usize,
        head_width: usize,
        device: &Device,
    ) -> Angles {
        let factor = match self.scaling {
            Some(RopeScaling::LongRope {
                attention_factor, ..
            }) => attention_factor as f32,
            _ => 1.0,
        };
        angles(batch, &self.frequencies(head_width, length), factor, device)
    }

    /// Whether tokens turn otherwise when the longest sequence grows from one length to another.
    pub(crate) fn changes(&self, from: usize, to: usize) -> bool {
        match self.scaling {
            Some(RopeScaling::LongRope {
                original_positions, ..
            }) => (from > original_positions) != (to > original_positions),
            _ => false,
        }
    }
}

fn angles(batch: &TokenBatch, frequencies: &[f32], factor: f32, device: &Device) -> Angles {
    let [rows, length] = batch.shape();
    let positions = batch.positions();
    let first = &positions[..length];
    let shared = positions.chunks_exact(length).all(|row| row == first);
    let (rows, positions) = if shared {
        (1, first)
    } else {
        (rows, positions)
    };
    let angles: Vec<f32> = positions
        .iter()
        .flat_map(|&position| frequencies.iter().map(move |f| f * position as f32))
        .collect();
    let device = device.clone().without_autodiff();
    let tensor = |of: fn(f32) -> f32| {
        let values: Vec<f32> = angles.iter().map(|&angle| factor * of(angle)).collect();
        Tensor::from_data(
            TensorData::new(values, [rows, length, frequencies.len()]),
            &device,
        )
    };
    Angles {
        cos: tensor(f32::cos),
        sin: tensor(f32::sin),
    }
}
