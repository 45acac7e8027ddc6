//! Logits of both sides, brought together.

use burn::tensor::Tensor;
use distily_core::{Comparison, Distribution, ObjectiveError};

/// The student's logits, `[batch * seq, vocabulary]`, in its graph.
pub(crate) fn of_student(comparison: &Comparison<'_>) -> Tensor<2> {
    let logits = match &comparison.student.logits {
        Some(logits) => logits.clone(),
        None => comparison.head.logits(comparison.student.hidden.clone()),
    };
    logits.flatten(0, 1)
}

/// The logits of both sides, `[batch * seq, vocabulary]`. Columns that only one side has are
/// padding of its vocabulary and take no part.
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
    let shared = student.dims()[1].min(teacher.dims()[1]);
    Ok((
        first_columns(student, shared),
        first_columns(teacher, shared),
    ))
}

fn first_columns(logits: Tensor<2>, columns: usize) -> Tensor<2> {
    if logits.dims()[1] == columns {
        logits
    } else {
        logits.narrow(1, 0, columns)
    }
}
