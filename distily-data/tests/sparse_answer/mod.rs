//! What the tests of imports and of servers read.

use burn::tensor::Tensor;
use distily_core::{Distribution, Taps, Teacher, TokenBatch};
use distily_data::TokenRows;

/// A teacher's answer of `k` ids a token, of one token after the other.
pub(crate) struct SparseAnswer {
    pub(crate) k: usize,
    pub(crate) ids: Vec<i64>,
    pub(crate) probabilities: Vec<f32>,
    pub(crate) tail: Vec<f32>,
}

impl SparseAnswer {
    pub(crate) fn of(teacher: &dyn Teacher, batch: &TokenBatch) -> Self {
        let answer = teacher.answer(batch, &Taps::none()).unwrap();
        let Distribution::Sparse {
            ids,
            probabilities,
            tail,
            ..
        } = answer.distribution
        else {
            panic!("not sparse")
        };
        let floats = |x: Tensor<2>| -> Vec<f32> { x.into_data().iter().collect() };
        Self {
            k: ids.dims()[2],
            ids: ids.into_data().iter().collect(),
            probabilities: floats(probabilities.flatten(0, 1)),
            tail: floats(tail),
        }
    }
}

/// All rows in one batch.
pub(crate) fn all(rows: &TokenRows) -> TokenBatch {
    rows.in_order(100).next().unwrap().unwrap()
}
