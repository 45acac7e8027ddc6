/// The exponent of the power of x that fits y best: the slope of a line through the logarithms, by
/// least squares.
pub fn exponent(points: &[(f64, f64)]) -> f64 {
    let logarithms = points.iter().map(|&(x, y)| (x.ln(), y.ln()));
    slope(&logarithms.collect::<Vec<_>>())
}

/// The slope of the line that fits best, by least squares.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    covariance / variance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_has_its_exponent() {
        let points = [1.0, 2.0, 4.0, 9.0].map(|x: f64| (x, 3.0 * x.powf(1.5)));
        assert!((exponent(&points) - 1.5).abs() < 1e-12);
        assert!((slope(&[(0.0, 1.0), (1.0, 3.0), (3.0, 7.0)]) - 2.0).abs() < 1e-12);
    }
}
