use crate::Config;
use anyhow::Result;
use distily::Trainer;
use distily::core::{LanguageModel, Seed, Teacher};
use distily::data::TokenRows;
use distily::models::Decoder;
use distily::objectives::Composite;
use std::sync::Arc;

/// Tokens that a norm of the teacher's hidden states is calibrated with, for each column of them.
const CALIBRATION: usize = 8;

/// What trains a student as a configuration says: with its objective, whose norms are calibrated by what
/// `calibrates` says of the rows.
///
/// # Errors
///
/// Where student, teacher and objective do not fit each other.
pub fn trainer(
    config: &Config,
    rows: &TokenRows,
    student: Decoder,
    teacher: Arc<dyn Teacher>,
    calibrates: &dyn Teacher,
) -> Result<Trainer<Decoder, Composite>> {
    let seed = Seed(config.training.seed);
    let objective = config.objective.clone();
    let objective = objective.build(&student.shape(), &teacher.shape(), seed, &student.device())?;
    let batch_size = config.training.batch_size;
    let tokens = CALIBRATION * teacher.shape().width;
    let enough = tokens.div_ceil(batch_size * rows.length());
    let batches = rows.batches(batch_size).after(seed, 0).take(enough);
    let objective = objective.calibrated(calibrates, batches.collect::<Result<Vec<_>, _>>()?)?;
    Ok(Trainer::new(
        student,
        teacher,
        objective,
        config.training.clone(),
    )?)
}
