use std::ops::Range;

/// Which tokens of a stream count as targets, as the places where that changes: up to the first,
/// tokens count. A stream whose tokens all count has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LossMask {
    changes: Vec<u64>,
}

impl LossMask {
    /// Takes some tokens out; ranges come in their order and do not overlap.
    pub(crate) fn ignore(&mut self, tokens: Range<u64>) {
        if tokens.is_empty() {
            return;
        }
        if self.changes.last() == Some(&tokens.start) {
            self.changes.pop();
        } else {
            self.changes.push(tokens.start);
        }
        self.changes.push(tokens.end);
    }

    /// Whether every token counts.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Appends whether each of some tokens counts.
    pub(crate) fn extend(&self, counts: &mut Vec<bool>, tokens: Range<u64>) {
        let before = self
            .changes
            .partition_point(|&change| change <= tokens.start);
        let mut counting = before.is_multiple_of(2);
        let mut at = tokens.start;
        let later = self.changes[before..].iter().copied();
        for change in later
            .take_while(|&change| change < tokens.end)
            .chain([tokens.end])
        {
            let length = usize::try_from(change - at).expect("the tokens of a row");
            counts.extend(std::iter::repeat_n(counting, length));
            counting = !counting;
            at = change;
        }
    }

    /// The distance of each change from the one before; one that a word can't hold goes by changes
    /// to and fro.
    pub(crate) fn to_distances(&self) -> Vec<u32> {
        let mut distances = Vec::with_capacity(self.changes.len());
        let mut at = 0;
        for &change in &self.changes {
            let mut distance = change - at;
            while distance > u64::from(u32::MAX) {
                distances.extend([u32::MAX, 0]);
                distance -= u64::from(u32::MAX);
            }
            distances.push(distance as u32);
            at = change;
        }
        distances
    }

    /// The reverse of [`to_distances`](Self::to_distances); `None` if there is not a whole number of
    /// ranges, or they reach beyond the last of `tokens`.
    pub(crate) fn from_distances(distances: &[u32], tokens: u64) -> Option<Self> {
        let mut mask = Self::default();
        let (mut at, mut counting) = (0u64, true);
        for &distance in distances {
            let next = at.checked_add(u64::from(distance))?;
            if !counting {
                mask.ignore(at..next);
            }
            (at, counting) = (next, !counting);
        }
        (counting && at <= tokens).then_some(mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(mask: &LossMask, tokens: Range<u64>) -> Vec<bool> {
        let mut counts = Vec::new();
        mask.extend(&mut counts, tokens);
        counts
    }

    #[test]
    fn a_distance_may_exceed_a_word() {
        let word = u64::from(u32::MAX);
        let mut mask = LossMask::default();
        mask.ignore(2 * word + 5..5 * word + 7);
        let distances = mask.to_distances();
        assert_eq!(
            LossMask::from_distances(&distances, 5 * word + 7),
            Some(mask)
        );
        assert_eq!(LossMask::from_distances(&distances, 5 * word + 6), None);
        assert_eq!(LossMask::from_distances(&distances[1..], 9 * word), None);
    }

    proptest! {
        #[test]
        fn any_part_of_any_mask(
            expected in prop::collection::vec(any::<bool>(), 0..60),
            ends in (0usize..61, 0usize..61),
        ) {
            let mut mask = LossMask::default();
            for (at, counts) in (0..).zip(&expected) {
                if !counts {
                    mask.ignore(at..at + 1);
                }
            }
            let all = expected.len();
            let (start, end) = (ends.0.min(ends.1).min(all), ends.0.max(ends.1).min(all));
            prop_assert_eq!(counts(&mask, start as u64..end as u64), &expected[start..end]);
            let restored = LossMask::from_distances(&mask.to_distances(), all as u64);
            prop_assert_eq!(restored, Some(mask));
        }
    }
}
