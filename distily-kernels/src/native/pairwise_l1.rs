use super::lanes::{LANES, vectorized};
use super::tensors::{elements, plain, slice};
use burn::tensor::Tensor;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of `a` that one core takes at a time.
const ROWS: usize = 16;
/// Columns that are met at a time: those of the rows of `a` stay in the first cache, and those of
/// `b` in the second.
const COLUMNS: usize = 512;

pub(crate) fn pairwise_l1(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let ([n, width], [m, _]) = (a.dims(), b.dims());
    let (a, b) = (elements(&a), elements(&b));
    let (a, b) = (slice(&a), slice(&b));
    let mut distances = vec![0.0; n * m];
    let rows = distances.par_chunks_mut((ROWS * m).max(1)).enumerate();
    rows.for_each(|(block, distances)| {
        for columns in blocks(width) {
            for (i, distances) in distances.chunks_exact_mut(m).enumerate() {
                let a = row(a, width, block * ROWS + i, &columns);
                vectorized(
                    #[inline(always)]
                    || {
                        for (j, distance) in distances.iter_mut().enumerate() {
                            *distance += l1(a, row(b, width, j, &columns));
                        }
                    },
                );
            }
        }
    });
    plain(distances, [n, m])
}

pub(crate) fn pairwise_l1_gradient(a: Tensor<2>, b: Tensor<2>, upstream: Tensor<2>) -> Tensor<2> {
    let (shape @ [_, width], [m, _]) = (a.dims(), b.dims());
    let (a, b, upstream) = (elements(&a), elements(&b), elements(&upstream));
    let (a, b, upstream) = (slice(&a), slice(&b), slice(&upstream));
    let mut gradient = vec![0.0; a.len()];
    let rows = gradient.par_chunks_mut((ROWS * width).max(1)).enumerate();
    rows.for_each(|(block, gradient)| {
        for columns in blocks(width) {
            for (i, gradient) in gradient.chunks_exact_mut(width).enumerate() {
                let i = block * ROWS + i;
                let a = row(a, width, i, &columns);
                let gradient = &mut gradient[columns.clone()];
                vectorized(
                    #[inline(always)]
                    || {
                        for (j, &upstream) in upstream[i * m..(i + 1) * m].iter().enumerate() {
                            let b = row(b, width, j, &columns);
                            for ((gradient, a), b) in gradient.iter_mut().zip(a).zip(b) {
                                let sign = f32::from(a > b) - f32::from(a < b);
                                *gradient += upstream * sign;
                            }
                        }
                    },
                );
            }
        }
    });
    plain(gradient, shape)
}

/// Σ |a_k - b_k|, of slices of one length. By whole arrays, as an index that the compiler has to check
/// makes it several times slower.
#[inline(always)]
fn l1(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += (a - b).abs();
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b).abs());
    lanes.into_iter().sum::<f32>() + rest.sum::<f32>()
}

fn blocks(width: usize) -> impl Iterator<Item = Range<usize>> {
    (0..width)
        .step_by(COLUMNS)
        .map(move |start| start..width.min(start + COLUMNS))
}

/// Some columns of a row.
#[inline(always)]
fn row<'a>(rows: &'a [f32], width: usize, at: usize, columns: &Range<usize>) -> &'a [f32] {
    &rows[at * width + columns.start..at * width + columns.end]
}
