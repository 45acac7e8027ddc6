//! Rows of the last axis, spread over the cores: what the norms share.

use super::lanes::vectorized;
use super::tensors::slice;
use super::unwritten::Unwritten;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

/// Rows that one core takes at a time, and that share one partial sum.
const ROWS: usize = 32;

/// `f(row, output)` for every row of `width` elements.
pub(super) fn map_rows(
    input: &FlexTensor,
    width: usize,
    f: impl Fn(&[f32], &mut [f32]) + Sync,
) -> Vec<f32> {
    let input = slice(input);
    let mut output = Unwritten::new(input.len());
    output
        .par_chunks_mut(ROWS * width)
        .zip(input.par_chunks(ROWS * width))
        .for_each(|(output, input)| {
            vectorized!({
                for (output, row) in output
                    .chunks_exact_mut(width)
                    .zip(input.chunks_exact(width))
                {
                    f(row, output);
                }
            });
        });
    output.into_vec()
}

/// `f(row, upstream, gradient of the row, sums)` for every row; returns the gradients of the rows,
/// and the `summed` elements that `f` adds up over all of them.
pub(super) fn pull_back_rows(
    input: &FlexTensor,
    upstream: &FlexTensor,
    width: usize,
    summed: usize,
    f: impl Fn(&[f32], &[f32], &mut [f32], &mut [f32]) + Sync,
) -> (Vec<f32>, Vec<f32>) {
    let (input, upstream) = (slice(input), slice(upstream));
    let mut gradient = Unwritten::new(input.len());
    let mut partial = Unwritten::new(input.len().div_ceil(ROWS * width) * summed);
    gradient
        .par_chunks_mut(ROWS * width)
        .zip(partial.par_chunks_mut(summed))
        .zip(input.par_chunks(ROWS * width))
        .zip(upstream.par_chunks(ROWS * width))
        .for_each(|(((gradient, sums), input), upstream)| {
            vectorized!({
                let rows = input.chunks_exact(width).zip(upstream.chunks_exact(width));
                for (gradient, (row, upstream)) in gradient.chunks_exact_mut(width).zip(rows) {
                    f(row, upstream, gradient, sums);
                }
            });
        });
    let mut sums = vec![0.0; summed];
    for partial in partial.into_vec().chunks_exact(summed) {
        sums.iter_mut()
            .zip(partial)
            .for_each(|(sum, part)| *sum += part);
    }
    (gradient.into_vec(), sums)
}
