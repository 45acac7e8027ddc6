use crate::output_pass::{check_vocabularies, output_pass, two_vocabularies};
use crate::sparse::Sparse;
use crate::{Weight, sinkhorn};
use burn::tensor::Tensor;
use distily_core::{
    Comparison, ModelShape, ObjectiveError, OutputLoss, OutputTokens, Seed, Taps, TeacherTokens,
    Term, ValueAndGradient,
};
use distily_kernels::Divergence;

/// A loss that compares the output distributions of a student and a teacher at a temperature, as a
/// [`Term`].
#[derive(Debug, Clone, PartialEq)]
pub struct SoftTerm {
    /// What logs and reports call it.
    pub name: String,
    /// Its factor in the objective.
    pub weight: Weight,
    /// Which loss.
    pub loss: SoftLoss,
    /// The temperature T.
    pub temperature: f64,
    /// Whether it is multiplied by T², so that its gradient keeps its size when T changes.
    pub temperature_squared: bool,
}

/// The loss of a [`SoftTerm`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum SoftLoss {
    /// See [`divergence`](crate::divergence).
    Divergence(Divergence),
    /// See [`top_k_kl`](crate::top_k_kl); of a teacher whose logits are known.
    TopKKl {
        /// How many ids of each token.
        k: usize,
    },
    /// See [`sampled_kl`](crate::sampled_kl); of a teacher whose logits are known. What is drawn
    /// depends on the seed, the optimizer step and the prediction's place in its batch alone.
    SampledKl {
        /// How many ids are drawn for each token.
        draws: usize,
        /// Of the draws.
        seed: Seed,
    },
    /// See [`uld`](crate::uld). Student and teacher are compared place by place: a teacher with
    /// another tokenizer has to answer at the student's tokens.
    ///
    /// Where the vocabularies differ so little that they can be one, padded differently, the columns
    /// that only one side has take no part.
    Uld,
    /// See [`sinkhorn`](crate::sinkhorn). It is not fused with the other output losses, which see a
    /// few tokens at a time: it computes the logits of all predictions that are scored in one go.
    Sinkhorn {
        /// How blurred the plan is, in units of the distances, which are 0 to 2; above 0.
        epsilon: f64,
        /// How often the plan's marginals are made true; at least 1.
        iterations: usize,
    },
}

/// Of the tokens that it is given, which must be all of a batch for [`SoftLoss::Sinkhorn`].
impl OutputLoss for SoftTerm {
    fn value_and_gradient(
        &self,
        tokens: &OutputTokens,
    ) -> Result<ValueAndGradient, ObjectiveError> {
        let (student, temperature) = (tokens.student.clone(), self.temperature);
        let weights = self.weights(tokens);
        Ok(match self.loss {
            SoftLoss::Divergence(divergence) => match (&tokens.teacher, divergence) {
                (
                    Some(TeacherTokens::Sparse {
                        ids,
                        probabilities,
                        tail,
                        temperature: known_at,
                    }),
                    Divergence::ForwardKl,
                ) => {
                    if *known_at != temperature {
                        return Err(self.other_temperature(*known_at));
                    }
                    distily_kernels::sparse_kl(
                        student,
                        ids.clone(),
                        probabilities.clone(),
                        tail.clone(),
                        weights,
                        temperature,
                    )
                }
                _ => {
                    let teacher = self.shared_logits(tokens)?;
                    distily_kernels::divergence(divergence, student, teacher, weights, temperature)
                }
            },
            SoftLoss::TopKKl { k } => {
                let known = Sparse::top_k(self.shared_logits(tokens)?, k, temperature);
                known.kl(student, weights)
            }
            SoftLoss::SampledKl { draws, seed } => {
                let teacher = self.shared_logits(tokens)?;
                let mut generator = seed.generator("sampled_kl", tokens.step as u64);
                // Where the tokens of the chunks before end: words of 32 bits, and chunks change
                // nothing.
                generator.set_word_pos(2 * draws as u128 * tokens.first as u128);
                let known = Sparse::random_sample(teacher, draws, temperature, &mut generator);
                known.kl(student, weights)
            }
            SoftLoss::Uld => {
                let teacher = self.teacher_logits(tokens)?;
                distily_kernels::uld(student, teacher, weights, temperature)
            }
            SoftLoss::Sinkhorn {
                epsilon,
                iterations,
            } => {
                let teacher = self.shared_logits(tokens)?;
                sinkhorn::value_and_gradient(
                    &student,
                    teacher,
                    weights,
                    temperature,
                    epsilon,
                    iterations,
                )
            }
        })
    }
}

impl Term for SoftTerm {
    fn name(&self) -> &str {
        &self.name
    }

    fn weight(&self, step: usize) -> f64 {
        self.weight.at(step)
    }

    fn taps(
        &self,
        student: &ModelShape,
        teacher: &ModelShape,
    ) -> Result<(Taps, Taps), ObjectiveError> {
        if self.loss != SoftLoss::Uld {
            check_vocabularies(&self.name, student, teacher)?;
        }
        Ok((Taps::none(), Taps::none()))
    }

    fn value(&self, comparison: &Comparison<'_>) -> Result<Tensor<1>, ObjectiveError> {
        let chunk = self.needs_all_tokens().then_some(usize::MAX);
        Ok(output_pass(&[(1.0, self)], comparison, chunk)?.total)
    }

    fn output_loss(&self) -> Option<&dyn OutputLoss> {
        (!self.needs_all_tokens()).then_some(self)
    }

    fn is_of_output(&self) -> bool {
        true
    }
}

impl SoftTerm {
    fn needs_all_tokens(&self) -> bool {
        matches!(self.loss, SoftLoss::Sinkhorn { .. })
    }

    /// The tokens' weights for a function that multiplies by T²: over T², where that is not wanted.
    fn weights(&self, tokens: &OutputTokens) -> Tensor<1> {
        let weights = tokens.weights.clone();
        if self.temperature_squared {
            weights
        } else {
            weights.div_scalar(self.temperature * self.temperature)
        }
    }

    fn other_temperature(&self, known_at: f64) -> ObjectiveError {
        ObjectiveError::Mismatch {
            term: self.name.clone(),
            problem: format!(
                "its temperature is {}, but the teacher's ids are known at {known_at} alone: give the term that temperature",
                self.temperature
            ),
        }
    }

    /// The teacher's logits, of the student's vocabulary.
    fn shared_logits(&self, tokens: &OutputTokens) -> Result<Tensor<2>, ObjectiveError> {
        let logits = self.teacher_logits(tokens)?;
        let ([_, of_student], [_, of_teacher]) = (tokens.student.dims(), logits.dims());
        if of_student == of_teacher {
            Ok(logits)
        } else {
            Err(two_vocabularies(&self.name, of_student, of_teacher))
        }
    }

    /// The teacher's logits, of whatever vocabulary.
    fn teacher_logits(&self, tokens: &OutputTokens) -> Result<Tensor<2>, ObjectiveError> {
        let problem = match &tokens.teacher {
            Some(TeacherTokens::Logits(logits)) => return Ok(logits.clone()),
            Some(TeacherTokens::Sparse { .. }) => {
                "needs the whole distribution, but the teacher is known at some ids alone: use forward_kl, or a recording by the codec `full`"
            }
            _ => "there is no teacher to compare with",
        };
        Err(ObjectiveError::Mismatch {
            term: self.name.clone(),
            problem: problem.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Composite;
    use crate::testing::Scene;
    use distily_core::Objective;
    use std::sync::Arc;

    #[test]
    fn what_is_known_at_one_temperature_says_nothing_of_another() {
        let scene = Scene::new([11, 11], 5).with_sparse_teacher();
        let at = |temperature| {
            let term = SoftTerm {
                name: "forward_kl".to_owned(),
                weight: 1.0.into(),
                temperature,
                temperature_squared: true,
                loss: SoftLoss::Divergence(Divergence::ForwardKl),
            };
            let objective = Composite::new(vec![Arc::new(term)]).unwrap();
            objective.evaluate(&scene.comparison(0))
        };
        assert!(at(1.0).is_ok());
        let problem = at(2.0).unwrap_err().to_string();
        assert!(
            problem.contains("is 2, but the teacher's ids are known at 1 alone"),
            "{problem}"
        );
    }
}
