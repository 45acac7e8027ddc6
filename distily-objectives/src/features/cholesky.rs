//! The Cholesky factor of a symmetric matrix, in f64 on the host, in time width³.
//!
//! Matrices are `[width, width]`, row after row.

/// The lower factor L of a symmetric matrix L Lᵀ, or the first column at which it is not positive
/// definite.
pub(crate) fn cholesky(mut matrix: Vec<f64>, width: usize) -> Result<Vec<f64>, usize> {
    for row in 0..width {
        let (above, below) = matrix.split_at_mut(row * width);
        let this = &mut below[..width];
        for (column, other) in above.chunks_exact(width).enumerate() {
            let rest = this[column] - dot(&this[..column], &other[..column]);
            this[column] = rest / other[column];
        }
        let pivot = this[row] - dot(&this[..row], &this[..row]);
        // Also where it is no number.
        if !(pivot > 0.0 && pivot.is_finite()) {
            return Err(row);
        }
        this[row] = pivot.sqrt();
        this[row + 1..].fill(0.0);
    }
    Ok(matrix)
}

/// The inverse of a lower triangular matrix.
pub(crate) fn inverse_of_lower(lower: &[f64], width: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; width * width];
    for row in 0..width {
        let factors = &lower[row * width..][..=row];
        let (above, below) = inverse.split_at_mut(row * width);
        let this = &mut below[..width];
        this[row] = 1.0;
        for (&factor, other) in factors.iter().zip(above.chunks_exact(width)) {
            for (x, y) in this[..row].iter_mut().zip(other) {
                *x -= factor * y;
            }
        }
        for x in &mut this[..=row] {
            *x /= factors[row];
        }
    }
    inverse
}

/// Σ a · b, in eight sums that a compiler can keep in one register.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a
        .remainder()
        .iter()
        .zip(b.remainder())
        .map(|(a, b)| a * b)
        .sum();
    let mut sums = [0.0; 8];
    for (a, b) in a.zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    rest + sums.iter().sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::super::testing::noise;
    use super::*;
    use proptest::prelude::*;

    /// a bᵀ.
    fn product(a: &[f64], b: &[f64], width: usize) -> Vec<f64> {
        let rows = a.chunks_exact(width);
        rows.flat_map(|a| b.chunks_exact(width).map(move |b| dot(a, b)))
            .collect()
    }

    proptest! {
        #[test]
        fn a_factor_and_its_inverse_are_found_again(seed in any::<u64>(), width in 1usize..20) {
            let mut lower = vec![0.0; width * width];
            for (row, (lower, noise)) in
                lower.chunks_exact_mut(width).zip(noise(width * width, seed).chunks_exact(width)).enumerate()
            {
                for (x, &noise) in lower[..row].iter_mut().zip(noise) {
                    *x = f64::from(noise) / width as f64;
                }
                lower[row] = 1.0 + f64::from(noise[row]) / 2.0;
            }
            let found = cholesky(product(&lower, &lower, width), width).unwrap();
            for (found, expected) in found.iter().zip(&lower) {
                prop_assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            }
            // L⁻¹ (L Lᵀ) = Lᵀ
            let square = product(&lower, &lower, width);
            let upper = product(&inverse_of_lower(&lower, width), &square, width);
            for (at, found) in upper.iter().enumerate() {
                let expected = lower[at % width * width + at / width];
                prop_assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            }
        }
    }

    #[test]
    fn the_column_that_is_not_definite_is_named() {
        assert_eq!(cholesky(vec![1.0, 1.0, 1.0, 1.0], 2), Err(1));
        assert_eq!(cholesky(vec![f64::NAN], 1), Err(0));
        assert_eq!(cholesky(vec![f64::INFINITY], 1), Err(0));
    }
}
