//! What the losses share that compare with a teacher at a temperature.

use crate::output_pass::two_vocabularies;
use burn::tensor::Tensor;
use distily_core::{ObjectiveError, OutputTokens, TeacherTokens};

/// The tokens' weights for a function that multiplies by T²: over T², where that is not wanted.
pub(crate) fn weights(tokens: &OutputTokens, temperature: f64, squared: bool) -> Tensor<1> {
    let weights = tokens.weights.clone();
    if squared {
        weights
    } else {
        weights.div_scalar(temperature * temperature)
    }
}

/// The teacher's logits, of the student's vocabulary.
pub(crate) fn shared_logits(
    tokens: &OutputTokens,
    term: &str,
) -> Result<Tensor<2>, ObjectiveError> {
    let logits = teacher_logits(tokens, term)?;
    let ([_, of_student], [_, of_teacher]) = (tokens.student.dims(), logits.dims());
    if of_student == of_teacher {
        Ok(logits)
    } else {
        Err(two_vocabularies(term, of_student, of_teacher))
    }
}

/// The teacher's logits, of whatever vocabulary.
pub(crate) fn teacher_logits(
    tokens: &OutputTokens,
    term: &str,
) -> Result<Tensor<2>, ObjectiveError> {
    let problem = match &tokens.teacher {
        Some(TeacherTokens::Logits(logits)) => return Ok(logits.clone()),
        Some(TeacherTokens::Sparse { .. }) => {
            "needs the whole distribution, but the teacher is known at some ids alone: use forward_kl"
        }
        _ => "there is no teacher to compare with",
    };
    Err(ObjectiveError::Mismatch {
        term: term.to_owned(),
        problem: problem.to_owned(),
    })
}
