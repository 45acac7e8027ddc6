use distily::core::{CausalLm, Comparison, Objective, Teacher, TokenBatch};
use std::error::Error;

/// An objective's value over all predictions of some batches, nothing trained.
///
/// # Errors
///
/// Whatever keeps a model or the objective from an answer.
pub fn held_out_value(
    objective: &impl Objective,
    student: &impl CausalLm,
    teacher: &dyn Teacher,
    batches: &[TokenBatch],
) -> Result<f64, Box<dyn Error>> {
    let (student_taps, teacher_taps) = objective.taps(&student.shape(), &teacher.shape())?;
    let predictions = batches.iter().map(TokenBatch::predictions).sum();
    let mut value = 0.0;
    for batch in batches {
        let losses = objective.evaluate(&Comparison {
            student: &student.forward(batch, &student_taps)?,
            head: &student.head(),
            teacher: &teacher.answer(batch, &teacher_taps)?,
            batch,
            predictions,
            step: 0,
        })?;
        value += f64::from(losses.total.into_scalar::<f32>());
    }
    Ok(value)
}
