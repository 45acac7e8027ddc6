use super::{Packed, Piece};

/// Best-fit decreasing: from the longest piece to the shortest, each goes into the row with the
/// least space that still holds it, or into a new one. Linear in the documents: lengths are sorted
/// by counting, and the row is found by a [`SetOfSpaces`]. Then the rows are put in the order of the
/// documents, so that the first of them are not those of the longest.
pub(super) fn pack(documents: impl Iterator<Item = Piece>, length: u32) -> Packed {
    let mut full = Vec::new();
    let mut rests = Vec::new();
    for mut document in documents {
        while document.length >= length {
            let (row, rest) = document.cut(length);
            full.push(row);
            document = rest;
        }
        if document.length > 0 {
            rests.push(document);
        }
    }
    let rests = longest_first(&rests, length);

    // Rows that have so many tokens left. Which of those with the same space is taken changes no
    // number of rows.
    let mut with_space: Vec<Vec<usize>> = vec![Vec::new(); length as usize];
    let mut spaces = SetOfSpaces::new(length as usize);
    let mut rows = 0;
    let row_of_rest: Vec<usize> = rests
        .iter()
        .map(|piece| {
            let needed = piece.length as usize;
            let (row, space) = match spaces.least(needed) {
                Some(space) => {
                    let row = with_space[space]
                        .pop()
                        .expect("in the set, so there is one");
                    if with_space[space].is_empty() {
                        spaces.remove(space);
                    }
                    (row, space)
                }
                None => {
                    rows += 1;
                    (rows - 1, length as usize)
                }
            };
            let left = space - needed;
            if left > 0 {
                with_space[left].push(row);
                spaces.insert(left);
            }
            row
        })
        .collect();

    let mut packed = Packed::alone(full.into_iter());
    let mut ends = vec![0; rows];
    for &row in &row_of_rest {
        ends[row] += 1;
    }
    let mut next = Vec::with_capacity(rows);
    let mut end = packed.pieces.len();
    for count in &mut ends {
        next.push(end);
        end += *count;
        *count = end;
    }
    packed.pieces.extend_from_slice(&rests);
    for (piece, row) in rests.into_iter().zip(row_of_rest) {
        packed.pieces[next[row]] = piece;
        next[row] += 1;
    }
    packed.ends.extend(ends);
    packed.by_first_piece()
}

/// Pieces shorter than `length` by falling length, those of one length in their order.
fn longest_first(pieces: &[Piece], length: u32) -> Vec<Piece> {
    // How many are longer than each length: the place of the first that has it.
    let mut places = vec![0usize; length as usize + 1];
    for piece in pieces {
        places[piece.length as usize - 1] += 1;
    }
    let mut longer = 0;
    for place in places.iter_mut().rev() {
        longer += *place;
        *place = longer - *place;
    }
    let mut sorted = pieces.to_vec();
    for piece in pieces {
        let place = &mut places[piece.length as usize - 1];
        sorted[*place] = *piece;
        *place += 1;
    }
    sorted
}

/// A set of numbers that finds the least one not below another: bits, and above them bits that say
/// which words of the level below have any.
struct SetOfSpaces {
    levels: Vec<Vec<u64>>,
}

impl SetOfSpaces {
    /// An empty set of numbers below `bound`.
    fn new(bound: usize) -> Self {
        let mut levels = vec![vec![0; bound.div_ceil(64)]];
        while let Some(top) = levels.last()
            && top.len() > 1
        {
            levels.push(vec![0; top.len().div_ceil(64)]);
        }
        Self { levels }
    }

    fn insert(&mut self, mut number: usize) {
        for level in &mut self.levels {
            level[number / 64] |= 1 << (number % 64);
            number /= 64;
        }
    }

    fn remove(&mut self, mut number: usize) {
        for level in &mut self.levels {
            level[number / 64] &= !(1 << (number % 64));
            if level[number / 64] != 0 {
                return;
            }
            number /= 64;
        }
    }

    fn least(&self, at_least: usize) -> Option<usize> {
        let mut from = at_least;
        for (height, level) in self.levels.iter().enumerate() {
            let word = level.get(from / 64)? & (u64::MAX << (from % 64));
            if word != 0 {
                let found = from / 64 * 64 + word.trailing_zeros() as usize;
                return Some(
                    self.levels[..height]
                        .iter()
                        .rev()
                        .fold(found, |word, level| {
                            word * 64 + level[word].trailing_zeros() as usize
                        }),
                );
            }
            // No number of this word: the first of a later one.
            from = from / 64 + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn the_set_is_a_set(
            numbers in prop::collection::vec((0usize..9000, any::<bool>()), 0..60),
            asked in prop::collection::vec(0usize..9000, 20),
        ) {
            let mut set = SetOfSpaces::new(9000);
            let mut expected = BTreeSet::new();
            for (number, inserted) in numbers {
                if inserted {
                    set.insert(number);
                    expected.insert(number);
                } else {
                    set.remove(number);
                    expected.remove(&number);
                }
            }
            for number in asked {
                prop_assert_eq!(set.least(number), expected.range(number..).next().copied());
            }
        }
    }
}
