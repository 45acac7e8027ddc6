use crate::logits::{chunks, scored_hidden};
use distily_core::{ForwardError, LanguageModel, TokenBatch};
use serde::Serialize;

/// How often two models hold the same token for the likeliest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// Predictions on which they agree.
    pub same: usize,
    /// Predictions compared.
    pub tokens: usize,
}

impl Agreement {
    /// The share of the predictions on which they agree, 0 to 1; NaN without any.
    pub fn share(&self) -> f64 {
        self.same as f64 / self.tokens as f64
    }
}

/// Compares the likeliest next tokens of two models (top-1 agreement) on every scored prediction.
///
/// # Errors
///
/// [`ForwardError`] where a model can't run a batch.
pub fn agreement(
    student: &dyn LanguageModel,
    teacher: &dyn LanguageModel,
    batches: impl IntoIterator<Item = TokenBatch>,
) -> Result<Agreement, ForwardError> {
    let (student_head, teacher_head) = (student.head().detached(), teacher.head().detached());
    let mut measured = Agreement::default();
    for batch in batches {
        let student = scored_hidden(student, &batch)?;
        let teacher = scored_hidden(teacher, &batch)?;
        let (Some(student), Some(teacher)) = (student, teacher) else {
            continue;
        };
        for (student, teacher) in chunks(student).zip(chunks(teacher)) {
            let ours = student_head.logits(student).argmax(1).into_data();
            let theirs = teacher_head.logits(teacher).argmax(1).into_data();
            let pairs = ours.iter::<i64>().zip(theirs.iter::<i64>());
            measured.same += pairs.filter(|(ours, theirs)| ours == theirs).count();
            measured.tokens += ours.num_elements();
        }
    }
    Ok(measured)
}
