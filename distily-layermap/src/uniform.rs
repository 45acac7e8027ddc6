/// Spreads `count` layers evenly over `depth`, the last on the last: for each i,
/// ceil((i + 1) depth / count) - 1.
pub(crate) fn spread(count: usize, depth: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |layer| ((layer + 1) * depth).div_ceil(count) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_that_do_not_divide() {
        let of = |count, depth| spread(count, depth).collect::<Vec<_>>();
        assert_eq!(of(5, 12), [2, 4, 7, 9, 11]);
        assert_eq!(of(12, 5), [0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4]);
    }

    #[test]
    fn steps_differ_by_at_most_one() {
        for count in 1..=48 {
            for depth in 1..=48 {
                let layers: Vec<_> = spread(count, depth).collect();
                assert_eq!(layers.len(), count);
                assert_eq!(layers[count - 1], depth - 1);
                let steps = || layers.windows(2).map(|two| two[1] - two[0]);
                let even = depth / count..=depth.div_ceil(count);
                assert!(steps().all(|step| even.contains(&step)));
            }
        }
    }
}
