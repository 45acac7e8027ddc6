use super::lanes::{sum, vectorized};
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
                vectorized!({
                    for (j, distance) in distances.iter_mut().enumerate() {
                        let b = row(b, width, j, &columns);
                        *distance += sum(
                            [a, b],
                            #[inline(always)]
                            |[a, b]| (a - b).abs(),
                        );
                    }
                });
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
                vectorized!({
                    for (j, &upstream) in upstream[i * m..(i + 1) * m].iter().enumerate() {
                        let b = row(b, width, j, &columns);
                        for ((gradient, a), b) in gradient.iter_mut().zip(a).zip(b) {
                            let sign = f32::from(a > b) - f32::from(a < b);
                            *gradient += upstream * sign;
                        }
                    }
                });
            }
        }
    });
    plain(gradient, shape)
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
