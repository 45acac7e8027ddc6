use crate::counting::Counting;
use crate::default_chunk;
use crate::head_pass::try_through_head as through_head;
use burn::tensor::{Int, Tensor};
use distily_core::{
    Comparison, Distribution, Head, ModelShape, ObjectiveError, OutputLoss, OutputTokens,
    TeacherTokens, ValueAndGradient,
};
use std::ops::Range;

/// What the output losses of an objective come to.
pub(crate) struct OutputPass {
    /// The weighted sum, `[1]`, in the student's graph.
    pub(crate) total: Tensor<1>,
    /// Each loss unweighted, `[1]`, outside any graph.
    pub(crate) values: Vec<Tensor<1>>,
}

/// What the teacher says of the tokens that count.
pub(crate) enum TeacherRows {
    Logits(Tensor<2>),
    Hidden(Tensor<2>, Head),
    Sparse {
        ids: Tensor<2, Int>,
        probabilities: Tensor<2>,
        tail: Tensor<2>,
        temperature: f64,
    },
}

impl TeacherRows {
    pub(crate) fn new(
        distribution: &Distribution,
        counting: &Counting,
    ) -> Result<Self, ObjectiveError> {
        let rows = |x: &Tensor<3>| counting.rows(x.clone().flatten(0, 1));
        match distribution {
            Distribution::Logits(logits) => Ok(Self::Logits(rows(logits))),
            Distribution::Hidden(hidden, head) => Ok(Self::Hidden(rows(hidden), head.detached())),
            Distribution::Sparse {
                ids,
                probabilities,
                tail,
                temperature,
            } => Ok(Self::Sparse {
                ids: counting.ids(ids.clone().flatten(0, 1)),
                probabilities: rows(probabilities),
                tail: rows(&tail.clone().unsqueeze_dim(2)),
                temperature: *temperature,
            }),
            other => Err(ObjectiveError::Mismatch {
                term: "the output losses".to_owned(),
                problem: format!("can't read a teacher that answers {other:?}"),
            }),
        }
    }

    /// Of a chunk of tokens.
    pub(crate) fn of(&self, range: Range<usize>) -> TeacherTokens {
        match self {
            Self::Logits(logits) => TeacherTokens::Logits(logits.clone().slice([range])),
            Self::Hidden(hidden, head) => {
                TeacherTokens::Logits(head.logits(hidden.clone().slice([range])))
            }
            Self::Sparse {
                ids,
                probabilities,
                tail,
                temperature,
            } => TeacherTokens::Sparse {
                ids: ids.clone().slice([range.clone()]),
                probabilities: probabilities.clone().slice([range.clone()]),
                tail: tail.clone().slice([range]).squeeze_dim(1),
                temperature: *temperature,
            },
        }
    }
}

/// All output losses of an objective in one pass: logits are computed once for all of them, a chunk
/// of tokens at a time, of the tokens that count alone.
///
/// Columns that only one side has are padding of its vocabulary, and take no part; unless they are
/// so many that the vocabularies must be two.
pub(crate) fn output_pass(
    losses: &[(f64, &dyn OutputLoss)],
    comparison: &Comparison<'_>,
    chunk: Option<usize>,
) -> Result<OutputPass, ObjectiveError> {
    let hidden = comparison.student.hidden.clone().flatten::<2>(0, 1);
    let device = hidden.device().without_autodiff();
    let counting = Counting::of(&comparison.batch.prediction_mask());
    if counting.is_empty() {
        let zero = || Tensor::zeros([1], &device);
        return Ok(OutputPass {
            total: zero(),
            values: losses.iter().map(|_| zero()).collect(),
        });
    }
    let asked = losses.iter().any(|(_, loss)| loss.needs_teacher());
    let teacher = asked
        .then(|| TeacherRows::new(&comparison.teacher.distribution, &counting))
        .transpose()?;
    let targets = comparison.batch.target_ids(&device).unsqueeze_dim::<2>(1);
    let targets = counting.ids(targets).squeeze_dim::<1>(1);
    let share = 1.0 / comparison.predictions.max(1) as f64;
    let mut values: Vec<Tensor<1>> = vec![Tensor::zeros([1], &device); losses.len()];
    let chunk = chunk.unwrap_or_else(|| default_chunk(comparison.head.vocabulary()));
    let total = through_head(
        counting.rows(hidden),
        comparison.head,
        chunk,
        |logits, range| -> Result<ValueAndGradient, ObjectiveError> {
            let [_, wide] = logits.dims();
            let mut tokens = OutputTokens {
                student: logits,
                teacher: teacher.as_ref().map(|teacher| teacher.of(range.clone())),
                targets: targets.clone().slice([range.clone()]),
                weights: Tensor::full([range.len()], share, &device),
                first: range.start,
                step: comparison.step,
            };
            if let Some(TeacherTokens::Logits(teacher)) = &mut tokens.teacher
                && may_be_one(wide, teacher.dims()[1])
            {
                let shared = wide.min(teacher.dims()[1]);
                *teacher = first_columns(teacher.clone(), shared);
                tokens.student = first_columns(tokens.student, shared);
            }
            let mut sum: Option<ValueAndGradient> = None;
            for ((weight, loss), total) in losses.iter().zip(&mut values) {
                let part = loss.value_and_gradient(&tokens)?;
                *total = total.clone() + part.value.clone();
                let part = scaled(part, *weight);
                sum = Some(match sum {
                    None => part,
                    Some(before) => ValueAndGradient {
                        value: before.value + part.value,
                        gradient: before.gradient + part.gradient,
                    },
                });
            }
            let sum = sum.unwrap_or_else(|| ValueAndGradient {
                value: Tensor::zeros([1], &device),
                gradient: tokens.student.zeros_like(),
            });
            Ok(ValueAndGradient {
                gradient: widened(sum.gradient, wide),
                ..sum
            })
        },
    )?;
    Ok(OutputPass { total, values })
}

fn scaled(part: ValueAndGradient, weight: f64) -> ValueAndGradient {
    if weight == 1.0 {
        return part;
    }
    ValueAndGradient {
        value: part.value.mul_scalar(weight),
        gradient: part.gradient.mul_scalar(weight),
    }
}

fn first_columns(logits: Tensor<2>, columns: usize) -> Tensor<2> {
    if logits.dims()[1] == columns {
        logits
    } else {
        logits.narrow(1, 0, columns)
    }
}

/// A gradient with columns of 0 up to a width.
fn widened(gradient: Tensor<2>, width: usize) -> Tensor<2> {
    let [tokens, columns] = gradient.dims();
    if columns == width {
        return gradient;
    }
    let rest = Tensor::zeros([tokens, width - columns], &gradient.device());
    Tensor::cat(vec![gradient, rest], 1)
}

/// Columns by which the vocabularies of a student and a teacher may differ: published models pad
/// theirs to multiples of up to this.
const MOST_PADDING: usize = 1024;

/// Whether vocabularies of these sizes can be one, padded differently.
fn may_be_one(student: usize, teacher: usize) -> bool {
    student.abs_diff(teacher) <= MOST_PADDING
}

/// Refuses vocabularies that can't be one, padded differently.
pub(crate) fn check_vocabularies(
    term: &str,
    student: &ModelShape,
    teacher: &ModelShape,
) -> Result<(), ObjectiveError> {
    if may_be_one(student.vocabulary, teacher.vocabulary) {
        return Ok(());
    }
    Err(two_vocabularies(
        term,
        student.vocabulary,
        teacher.vocabulary,
    ))
}

/// The error of a term that can't compare two vocabularies.
pub(crate) fn two_vocabularies(term: &str, student: usize, teacher: usize) -> ObjectiveError {
    ObjectiveError::Mismatch {
        term: term.to_owned(),
        problem: format!(
            "the student's vocabulary of {student} is not the teacher's of {teacher}, padded: both need the same tokenizer"
        ),
    }
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
