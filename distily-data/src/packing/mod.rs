mod best_fit;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How documents become rows of one length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// One document after the other: a row is filled before the next begins, so a document may go
    /// on in the next row.
    #[default]
    Wrapped,
    /// Documents are whole where a row can hold them, and share rows so that little is padding:
    /// best-fit decreasing (Ding et al., *Fewer Truncations Improve Language Modeling*,
    /// <https://arxiv.org/abs/2404.10830>). A longer one is cut into full rows and a rest.
    BestFit,
    /// One document a row: a longer one loses its end, a shorter one is followed by padding.
    Padded,
}

/// Tokens of one document that lie in one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The place of the first among the tokens of all documents.
    pub start: u64,
    /// How many.
    pub length: u32,
}

/// Which pieces of which documents make each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    pieces: Vec<Piece>,
    /// Where the pieces of each row end.
    ends: Vec<usize>,
}

impl Packing {
    /// Packs documents of so many tokens each into rows of `length` tokens. A document without
    /// tokens is in no row.
    ///
    /// # Panics
    ///
    /// If `length` is 0.
    pub fn pack(self, documents: &[u32], length: u32) -> Packed {
        assert!(length > 0, "rows without tokens");
        let mut start = 0;
        let documents = documents.iter().map(|&tokens| {
            let piece = Piece {
                start,
                length: tokens,
            };
            start += u64::from(tokens);
            piece
        });
        let documents = documents.filter(|document| document.length > 0);
        match self {
            Self::Wrapped => wrapped(documents, length),
            Self::BestFit => best_fit::pack(documents, length),
            Self::Padded => Packed::alone(documents.map(|document| document.cut(length).0)),
        }
    }
}

impl Piece {
    /// The first tokens, at most so many, and those after them.
    fn cut(self, length: u32) -> (Self, Self) {
        let length = length.min(self.length);
        let rest = Self {
            start: self.start + u64::from(length),
            length: self.length - length,
        };
        (Self { length, ..self }, rest)
    }
}

impl Packed {
    /// Each piece in a row of its own.
    fn alone(pieces: impl Iterator<Item = Piece>) -> Self {
        let pieces: Vec<Piece> = pieces.collect();
        let ends = (1..=pieces.len()).collect();
        Self { pieces, ends }
    }

    /// The rows in the order of their first pieces.
    fn by_first_piece(self) -> Self {
        let mut rows: Vec<(u64, u32)> = (0..self.rows())
            .map(|row| (self.row(row)[0].start, row as u32))
            .collect();
        rows.par_sort_unstable();
        let mut sorted = Self {
            pieces: Vec::with_capacity(self.pieces.len()),
            ends: Vec::with_capacity(self.ends.len()),
        };
        for (_, row) in rows {
            sorted.pieces.extend_from_slice(self.row(row as usize));
            sorted.ends.push(sorted.pieces.len());
        }
        sorted
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// The pieces of a row, from its beginning; padding is what they leave of it.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[Piece] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.pieces[start..self.ends[row]]
    }
}

fn wrapped(documents: impl Iterator<Item = Piece>, length: u32) -> Packed {
    let (mut pieces, mut ends) = (Vec::new(), Vec::new());
    let mut space = length;
    for mut document in documents {
        while document.length > 0 {
            let (piece, rest) = document.cut(space);
            pieces.push(piece);
            space -= piece.length;
            if space == 0 {
                ends.push(pieces.len());
                space = length;
            }
            document = rest;
        }
    }
    if space < length {
        ends.push(pieces.len());
    }
    Packed { pieces, ends }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rows as lists of (start, length).
    fn rows(packing: Packing, documents: &[u32], length: u32) -> Vec<Vec<(u64, u32)>> {
        let packed = packing.pack(documents, length);
        (0..packed.rows())
            .map(|row| {
                packed
                    .row(row)
                    .iter()
                    .map(|piece| (piece.start, piece.length))
                    .collect()
            })
            .collect()
    }

    const DOCUMENTS: [u32; 5] = [5, 2, 0, 3, 1];

    #[test]
    fn wrapped_documents_go_on_in_the_next_row() {
        assert_eq!(
            rows(Packing::Wrapped, &DOCUMENTS, 4),
            [
                vec![(0, 4)],
                vec![(4, 1), (5, 2), (7, 1)],
                vec![(8, 2), (10, 1)]
            ]
        );
    }

    #[test]
    fn the_best_fit_is_the_row_that_is_then_fullest() {
        // The example of TRL's `pack_dataset` with its strategy `bfd_split`.
        assert_eq!(
            rows(Packing::BestFit, &DOCUMENTS, 4),
            [vec![(0, 4)], vec![(5, 2), (10, 1)], vec![(7, 3), (4, 1)]]
        );
    }

    #[test]
    fn padded_documents_are_alone_and_cut() {
        assert_eq!(
            rows(Packing::Padded, &DOCUMENTS, 4),
            [vec![(0, 4)], vec![(5, 2)], vec![(7, 3)], vec![(10, 1)]]
        );
    }

    #[test]
    fn no_documents_are_no_rows() {
        for packing in [Packing::Wrapped, Packing::BestFit, Packing::Padded] {
            assert_eq!(packing.pack(&[], 4).rows(), 0);
            assert_eq!(packing.pack(&[0, 0], 4).rows(), 0);
        }
    }

    /// The rows that best-fit decreasing opens, by looking at all of them for each piece.
    fn rows_by_definition(documents: &[u32], length: u32) -> usize {
        let rest = |tokens: u32| tokens % length;
        let mut rests: Vec<u32> = documents
            .iter()
            .map(|&tokens| rest(tokens))
            .filter(|&rest| rest > 0)
            .collect();
        rests.sort_unstable_by(|a, b| b.cmp(a));
        let mut spaces: Vec<u32> = Vec::new();
        for rest in rests {
            match spaces.iter_mut().filter(|space| **space >= rest).min() {
                Some(space) => *space -= rest,
                None => spaces.push(length - rest),
            }
        }
        let full: u32 = documents.iter().map(|&tokens| tokens / length).sum();
        full as usize + spaces.len()
    }

    proptest! {
        #[test]
        fn no_token_is_lost_and_no_row_too_long(
            documents in prop::collection::vec(0u32..40, 0..30),
            length in 1u32..20,
        ) {
            let total: u32 = documents.iter().sum();
            for packing in [Packing::Wrapped, Packing::BestFit] {
                let packed = rows(packing, &documents, length);
                for row in &packed {
                    let tokens: u32 = row.iter().map(|piece| piece.1).sum();
                    prop_assert!(0 < tokens && tokens <= length);
                }
                let mut tokens: Vec<u64> = packed.concat().iter()
                    .flat_map(|&(start, length)| start..start + u64::from(length)).collect();
                tokens.sort_unstable();
                prop_assert!(tokens.into_iter().eq(0..u64::from(total)), "{packing:?}");
            }
        }

        #[test]
        fn documents_that_fit_are_whole(
            documents in prop::collection::vec(1u32..20, 0..30), more in 0u32..5,
        ) {
            let length = 20 + more;
            let mut pieces: Vec<u32> =
                rows(Packing::BestFit, &documents, length).concat().iter().map(|p| p.1).collect();
            let mut documents = documents;
            pieces.sort_unstable();
            documents.sort_unstable();
            prop_assert_eq!(pieces, documents);
        }

        #[test]
        fn best_fit_opens_as_many_rows_as_its_definition(
            documents in prop::collection::vec(0u32..300, 0..80),
            length in 1u32..200,
        ) {
            let packed = Packing::BestFit.pack(&documents, length);
            prop_assert_eq!(packed.rows(), rows_by_definition(&documents, length));
        }
    }
}
