use crate::ModelError;
use burn::tensor::{Device, Tensor, TensorData};
use distily_core::TokenBatch;
use std::f64::consts::PI;

/// Rotary positions: pair `i` of a head of width `d` turns by position · theta^(-2i/d) (Su et al.,
/// 2104.09864).
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// The base of the frequencies.
    pub theta: f64,
    /// How the frequencies are changed for long contexts.
    pub scaling: Option<RopeScaling>,
}

/// A change of the rotary frequencies.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
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
}

impl Default for Rope {
    fn default() -> Self {
        Self {
            theta: 10_000.0,
            scaling: None,
        }
    }
}

impl Rope {
    pub(crate) fn check(&self, origin: &str) -> Result<(), ModelError> {
        let positive = |field, value: f64| {
            if value > 0.0 && value.is_finite() {
                Ok(())
            } else {
                let problem = format!("got {value}, expected a positive number");
                Err(ModelError::config(origin, field, problem))
            }
        };
        positive("rope_theta", self.theta)?;
        if let Some(RopeScaling::Llama3 {
            factor,
            low_frequency_factor,
            high_frequency_factor,
            original_positions,
        }) = self.scaling
        {
            positive("rope_scaling.factor", factor)?;
            positive("rope_scaling.low_freq_factor", low_frequency_factor)?;
            positive(
                "rope_scaling.original_max_position_embeddings",
                original_positions as f64,
            )?;
            if high_frequency_factor.partial_cmp(&low_frequency_factor)
                != Some(std::cmp::Ordering::Greater)
            {
                let problem = format!(
                    "got {high_frequency_factor}, expected more than low_freq_factor, {low_frequency_factor}"
                );
                return Err(ModelError::config(
                    origin,
                    "rope_scaling.high_freq_factor",
                    problem,
                ));
            }
        }
        Ok(())
    }

    /// Radians per position of each pair of a head.
    fn frequencies(&self, head_width: usize) -> Vec<f32> {
        (0..head_width / 2)
            .map(|pair| {
                let frequency = self.theta.powf(-2.0 * pair as f64 / head_width as f64);
                match self.scaling {
                    Some(RopeScaling::Llama3 {
                        factor,
                        low_frequency_factor: low,
                        high_frequency_factor: high,
                        original_positions,
                    }) => {
                        let turns = original_positions as f64 * frequency / (2.0 * PI);
                        let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                        ((1.0 - kept) / factor + kept) * frequency
                    }
                    None => frequency,
                }
            })
            .map(|frequency| frequency as f32)
            .collect()
    }

    /// cos and sin of the angles of a batch, `[rows, length, head_width / 2]`; one row where all
    /// have the same positions.
    pub(crate) fn angles(
        &self,
        batch: &TokenBatch,
        head_width: usize,
        device: &Device,
    ) -> (Tensor<3>, Tensor<3>) {
        let [rows, length] = batch.shape();
        let positions = batch.positions();
        let first = &positions[..length];
        let shared = positions.chunks_exact(length).all(|row| row == first);
        let (rows, positions) = if shared {
            (1, first)
        } else {
            (rows, positions)
        };
        let frequencies = self.frequencies(head_width);
        let angles: Vec<f32> = positions
            .iter()
            .flat_map(|&position| frequencies.iter().map(move |f| f * position as f32))
            .collect();
        let device = device.clone().without_autodiff();
        let tensor = |values: Vec<f32>| {
            Tensor::from_data(
                TensorData::new(values, [rows, length, head_width / 2]),
                &device,
            )
        };
        (
            tensor(angles.iter().map(|angle| angle.cos()).collect()),
            tensor(angles.iter().map(|angle| angle.sin()).collect()),
        )
    }
}
