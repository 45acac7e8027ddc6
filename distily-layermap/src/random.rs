use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// `count` layers of `depth` in order, drawn evenly, each as often as any other or once more: a
/// choice without repetition where there are enough, every layer at least once where there are not.
pub(crate) fn in_order(count: usize, depth: usize, seed: u64) -> Vec<usize> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    // The layers with the smallest random keys. This takes nothing but the generator's bits, which
    // stay, where rand's own sampling may change with its version.
    let mut drawn: Vec<_> = (0..depth)
        .map(|layer| (generator.next_u64(), layer))
        .collect();
    drawn.sort_unstable();
    let mut layers: Vec<_> = drawn.iter().map(|key| key.1).cycle().take(count).collect();
    layers.sort_unstable();
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_choice_in_order_for_all_depths() {
        for count in 1..=48 {
            for depth in 1..=48 {
                let layers = in_order(count, depth, 7);
                assert_eq!(layers.len(), count);
                assert!(layers.is_sorted());
                let mut times = vec![0; depth];
                for layer in layers {
                    times[layer] += 1;
                }
                let even = count / depth..=count.div_ceil(depth);
                assert!(times.iter().all(|times| even.contains(times)));
            }
        }
    }

    #[test]
    fn the_seed_decides() {
        // Written down, so that a run of today can be repeated with the versions of tomorrow. A
        // second ChaCha8, written from its definition, gave the same.
        assert_eq!(in_order(6, 12, 0), [0, 1, 2, 3, 5, 9]);
        assert_eq!(in_order(6, 12, 1), [0, 1, 3, 4, 6, 7]);
        assert_eq!(in_order(5, 3, 0), [0, 1, 1, 2, 2]);
    }

    #[test]
    fn every_choice_is_as_likely() {
        let mut times = BTreeMap::new();
        for seed in 0..6000 {
            *times.entry(in_order(2, 4, seed)).or_insert(0) += 1;
        }
        assert_eq!(times.len(), 6);
        // 1000 on average, with a standard deviation of 29.
        assert!(
            times.values().all(|times| (850..1150).contains(times)),
            "{times:?}"
        );
    }
}
