use super::lanes::vectorized;
use super::tensors::{elements, slice};
use burn::tensor::Tensor;
use rayon::prelude::*;

/// Elements that share a partial sum: 64 KiB.
const CHUNK: usize = 16 * 1024;

pub(crate) fn sum_of_squares<const D: usize>(x: &Tensor<D>) -> f64 {
    let x = elements(x);
    let sums: Vec<f64> = slice(&x).par_chunks(CHUNK).map(of_chunk).collect();
    // In order, so that the sum is the same bits on any number of threads.
    sums.into_iter().sum()
}

/// Independent sums, as of vectors of f64 a processor holds half as many as of f32.
const LANES: usize = 32;

fn of_chunk(chunk: &[f32]) -> f64 {
    vectorized!({
        let mut lanes = [0.0; LANES];
        let runs = chunk.chunks_exact(LANES);
        let rest = runs.remainder();
        for run in runs {
            for (lane, &x) in lanes.iter_mut().zip(run) {
                *lane += f64::from(x) * f64::from(x);
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(x) * f64::from(x);
        }
        lanes.into_iter().sum()
    })
}
