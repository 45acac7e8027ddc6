//! Matrix products over strided views, checked before they reach the `gemm` crate.

use gemm::Parallelism;

/// A strided view of f32s.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows of `columns` adjacent elements, `row_stride` apart, from the start of `data`.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(fits(data.len(), rows, columns, row_stride));
        Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Whether the last element of the last row is within `len`.
fn fits(len: usize, rows: usize, columns: usize, row_stride: usize) -> bool {
    rows == 0 || columns == 0 || (rows - 1) * row_stride + columns <= len
}

/// What becomes of what the destination holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    Overwrite,
    Add,
}

/// Which cores compute a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cores {
    /// The one that asks: others are busy with the same.
    One,
    All,
}

/// `out` (rows of `rhs.columns` adjacent elements) = or += factor · `lhs` · `rhs`, on one thread.
pub(super) fn multiply(
    out: &mut [f32],
    destination: Destination,
    factor: f32,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
) {
    multiply_on(Cores::One, out, destination, factor, lhs, rhs);
}

/// [`multiply`] on one core or all.
pub(super) fn multiply_on(
    cores: Cores,
    out: &mut [f32],
    destination: Destination,
    factor: f32,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
) {
    assert_eq!(lhs.columns, rhs.rows, "the inner sizes differ");
    assert!(fits(out.len(), lhs.rows, rhs.columns, rhs.columns));
    // SAFETY: both views lie within their slices (checked when they were made, and transposing
    // keeps the set of elements), and so does the destination, which nothing else refers to. The
    // strides are those of the views.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            lhs.rows,
            rhs.columns,
            lhs.columns,
            out.as_mut_ptr(),
            1,
            rhs.columns as isize,
            destination == Destination::Add,
            lhs.data.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            1.0,
            factor,
            false,
            false,
            false,
            match cores {
                Cores::One => Parallelism::None,
                Cores::All => Parallelism::Rayon(0),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_sum_of_products(
            m in 1usize..9, n in 1usize..9, k in 1usize..9, gap in 0usize..3, add in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let lhs = noise(m * (k + gap), seed);
            let rhs = noise(n * (k + gap), seed ^ 1);
            let start = noise(m * n, seed ^ 2);
            let mut out = start.clone();
            let destination = if add { Destination::Add } else { Destination::Overwrite };
            multiply(
                &mut out,
                destination,
                0.5,
                Matrix::new(&lhs, m, k, k + gap),
                Matrix::new(&rhs, n, k, k + gap).transposed(),
            );
            for i in 0..m {
                for j in 0..n {
                    let product: f32 =
                        (0..k).map(|l| lhs[i * (k + gap) + l] * rhs[j * (k + gap) + l]).sum();
                    let before = if add { start[i * n + j] } else { 0.0 };
                    prop_assert!((out[i * n + j] - before - 0.5 * product).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    #[should_panic]
    fn a_view_outside_its_slice_is_refused() {
        Matrix::new(&[0.0; 5], 2, 3, 3);
    }
}
