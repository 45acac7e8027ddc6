use distily_core::Seed;
use rand::Rng;

/// A random order of `0..len` for one epoch, of which any place is known without the others: a
/// shuffle that takes no memory, so that a run is resumed by asking for its next place.
///
/// A Feistel network over pairs `(left, right)` of which there are hardly more than `len`; a number
/// that leaves the range goes through it again (Black, Rogaway, *Ciphers with arbitrary finite
/// domains*, CT-RSA 2002, §5 and §4). It shuffles; it keeps no secrets.
///
/// ```
/// use distily_core::Seed;
/// use distily_data::Permutation;
///
/// let order = Permutation::new(Seed(1), 0, 100_000_000);
/// let next = order.at(73_000_000);
/// assert!(next < 100_000_000 && next == order.at(73_000_000));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutation {
    len: u64,
    /// How many values `left` and `right` have.
    sides: [u64; 2],
    keys: [u64; ROUNDS],
}

/// Enough for all orders of a few rows to be equally frequent.
const ROUNDS: usize = 12;

impl Permutation {
    /// The order of `0..len` in an epoch.
    pub fn new(seed: Seed, epoch: u64, len: u64) -> Self {
        let mut generator = seed.generator("shuffle", epoch);
        let left = len.isqrt().max(1);
        Self {
            len,
            sides: [left, len.div_ceil(left).max(1)],
            keys: std::array::from_fn(|_| generator.next_u64()),
        }
    }

    /// What comes at a place.
    ///
    /// # Panics
    ///
    /// If the place is not in `0..len`.
    pub fn at(&self, place: u64) -> u64 {
        let len = self.len;
        assert!(place < len, "place {place} of {len}");
        let mut number = self.once(place);
        while number >= len {
            number = self.once(number);
        }
        number
    }

    fn once(&self, number: u64) -> u64 {
        let [lefts, rights] = self.sides;
        let (mut left, mut right) = (number / rights, number % rights);
        for keys in self.keys.as_chunks::<2>().0 {
            left = added(left, mixed(right ^ keys[0]), lefts);
            right = added(right, mixed(left ^ keys[1]), rights);
        }
        left * rights + right
    }
}

/// A number below `modulus` and a random one, modulo `modulus`.
fn added(number: u64, random: u64, modulus: u64) -> u64 {
    let step = ((u128::from(random) * u128::from(modulus)) >> 64) as u64;
    ((u128::from(number) + u128::from(step)) % u128::from(modulus)) as u64
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), with Stafford's constants.
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn order(seed: u64, epoch: u64, len: u64) -> Vec<u64> {
        let permutation = Permutation::new(Seed(seed), epoch, len);
        (0..len).map(|place| permutation.at(place)).collect()
    }

    #[test]
    fn all_orders_of_a_few_are_equally_frequent() {
        // 24 orders of four in 24 000 epochs: 1000 each, with a deviation of 31.
        let mut seen = HashMap::new();
        for epoch in 0..24_000 {
            *seen.entry(order(5, epoch, 4)).or_insert(0i32) += 1;
        }
        assert_eq!(seen.len(), 24);
        assert!(
            seen.values().all(|count| (count - 1000).abs() < 160),
            "{seen:?}"
        );
    }

    #[test]
    fn what_comes_at_a_place_does_not_depend_on_it() {
        // The number of places that keep their number, and of neighbours that stay so: 1 and 2 are
        // expected of each order, whatever its length.
        let (mut kept, mut together) = (0, 0);
        for epoch in 0..300 {
            let order = order(7, epoch, 1000);
            kept += order
                .iter()
                .zip(0..)
                .filter(|(number, place)| **number == *place)
                .count();
            let neighbours = order.windows(2);
            together += neighbours
                .filter(|pair| pair[0].abs_diff(pair[1]) == 1)
                .count();
        }
        assert!((200..400).contains(&kept), "{kept}");
        assert!((450..750).contains(&together), "{together}");
    }

    #[test]
    fn the_largest_range_has_places() {
        for len in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 32) * (1 << 31) + 1] {
            let permutation = Permutation::new(Seed(1), 0, len);
            assert!(permutation.at(len - 1) < len);
        }
    }

    proptest! {
        #[test]
        fn each_number_comes_once(seed: u64, epoch: u64, len in 0u64..3000) {
            let mut numbers = order(seed, epoch, len);
            numbers.sort_unstable();
            prop_assert!(numbers.into_iter().eq(0..len));
        }

        #[test]
        fn each_epoch_and_seed_has_its_own(seed: u64, epoch in 0u64..1000) {
            prop_assert_ne!(order(seed, epoch, 100), order(seed, epoch + 1, 100));
            prop_assert_ne!(order(seed, epoch, 100), order(seed.wrapping_add(1), epoch, 100));
        }
    }
}
