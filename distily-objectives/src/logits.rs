//! Logits of both sides, brought together.

use burn::tensor::Tensor;
use distily_core::{Comparison, Distribution, ModelShape, ObjectiveError};
use std::cmp::Ordering;

/// The student's logits, `[batch * seq, vocabulary]`, in its graph.
pub(crate) fn of_student(comparison: &Comparison<'_>) -> Tensor<2> {
    let logits = match &comparison.student.logits {
        Some(logits) => logits.clone(),
        None => comparison.head.logits(comparison.student.hidden.clone()),
    };
    logits.flatten(0, 1)
}

/// The logits of both sides, `[batch * seq, vocabulary]`, as wide as the student's. Where the
/// student's vocabulary is padded, the teacher's probability there is 0; where the teacher's is,
/// those columns take no part.
pub(crate) fn of_both(
    term: &str,
    comparison: &Comparison<'_>,
) -> Result<(Tensor<2>, Tensor<2>), ObjectiveError> {
    let student = of_student(comparison);
    let teacher: Tensor<3> = match &comparison.teacher.distribution {
        Distribution::Logits(logits) => logits.clone(),
        Distribution::Hidden(hidden, head) => head.logits(hidden.clone()),
        other => {
            return Err(ObjectiveError::Mismatch {
                term: term.to_owned(),
                problem: format!("can't read a teacher that answers {other:?}"),
            });
        }
    };
    let teacher = teacher.flatten::<2>(0, 1);
    let ([tokens, wanted], [_, given]) = (student.dims(), teacher.dims());
    let teacher = match given.cmp(&wanted) {
        Ordering::Equal => teacher,
        Ordering::Greater => teacher.narrow(1, 0, wanted),
        Ordering::Less => {
            let shape = [tokens, wanted - given];
            let impossible = Tensor::full(shape, f32::NEG_INFINITY, &teacher.device());
            Tensor::cat(vec![teacher, impossible], 1)
        }
    };
    Ok((student, teacher))
}

/// Columns by which the vocabularies of a student and a teacher may differ: published models pad
/// theirs to multiples of up to this.
const MOST_PADDING: usize = 1024;

/// Whether two vocabularies can be one, padded differently.
pub(crate) fn check_vocabularies(
    term: &str,
    student: &ModelShape,
    teacher: &ModelShape,
) -> Result<(), ObjectiveError> {
    if student.vocabulary.abs_diff(teacher.vocabulary) <= MOST_PADDING {
        return Ok(());
    }
    Err(ObjectiveError::Mismatch {
        term: term.to_owned(),
        problem: format!(
            "the student's vocabulary of {} is not the teacher's of {}, padded: both need the same tokenizer",
            student.vocabulary, teacher.vocabulary
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vocabularies_may_differ_by_padding_alone() {
        let check = |student, teacher| {
            let shape = |vocabulary| ModelShape {
                vocabulary,
                ..ModelShape::default()
            };
            check_vocabularies("kl", &shape(student), &shape(teacher))
        };
        assert!(check(50_304, 50_257).is_ok() && check(151_665, 151_936).is_ok());
        let error = check(32_000, 50_257).unwrap_err().to_string();
        assert!(
            error.contains("32000") && error.contains("50257"),
            "{error}"
        );
    }
}
