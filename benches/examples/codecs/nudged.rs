use burn::tensor::Device;
use distily::core::{Answer, Distribution, ForwardError, ModelShape, Taps, Teacher, TokenBatch};
use std::sync::Arc;

/// A teacher whose last hidden states are multiplied by a number and divided by it again: many come back
/// different in their last bit. As far as its student is from the teacher's, students of any two
/// computations of the same teacher may be.
#[derive(Debug)]
pub struct Nudged(pub Arc<dyn Teacher>);

impl Teacher for Nudged {
    fn shape(&self) -> ModelShape {
        self.0.shape()
    }

    fn answer(&self, batch: &TokenBatch, taps: &Taps) -> Result<Answer, ForwardError> {
        let answer = self.0.answer(batch, taps)?;
        Ok(Answer {
            distribution: match answer.distribution {
                Distribution::Hidden(hidden, head) => {
                    Distribution::Hidden(hidden.mul_scalar(1.1).div_scalar(1.1), head)
                }
                _ => {
                    let problem = "a live teacher says hidden states";
                    return Err(ForwardError::Unanswered(problem.to_owned()));
                }
            },
            ..answer
        })
    }

    fn on(&self, device: &Device) -> Arc<dyn Teacher> {
        Arc::new(Self(self.0.on(device)))
    }
}
