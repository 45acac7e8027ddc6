use burn::tensor::Device;
use distily::core::{Answer, Distribution, ForwardError, ModelShape, Taps, Teacher, TokenBatch};
use std::sync::Arc;

/// A recording of likely ids as most others read theirs: the ids that are known are all there are.
#[derive(Debug)]
pub struct Renormalised(pub Arc<dyn Teacher>);

impl Teacher for Renormalised {
    fn shape(&self) -> ModelShape {
        self.0.shape()
    }

    fn answer(&self, batch: &TokenBatch, taps: &Taps) -> Result<Answer, ForwardError> {
        let answer = self.0.answer(batch, taps)?;
        let Distribution::Sparse {
            ids,
            probabilities,
            tail,
            temperature,
        } = answer.distribution
        else {
            return Ok(answer);
        };
        // Padding has no probabilities at all.
        let mass = probabilities.clone().sum_dim(2).clamp_min(1e-30);
        Ok(Answer {
            distribution: Distribution::Sparse {
                ids,
                probabilities: probabilities / mass,
                tail: tail.zeros_like(),
                temperature,
            },
            ..answer
        })
    }

    fn on(&self, device: &Device) -> Arc<dyn Teacher> {
        Arc::new(Self(self.0.on(device)))
    }
}
