use crate::DataError;
use distily_core::{BatchError, Seed, TokenBatch};
use rand::seq::SliceRandom;

/// Tokens packed into rows of one length, with the document of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRows {
    length: usize,
    ids: Vec<u32>,
    segments: Vec<u32>,
}

impl TokenRows {
    /// Packs documents one after the other: a row is filled before the next begins, so a document
    /// may go on in the next row. Each document is ended by `end_of_text` if there is one; the last
    /// row is filled up with padding. Documents that share a row have different segments.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] for rows shorter than two tokens, or no tokens at all.
    pub fn pack(
        documents: &[Vec<u32>],
        length: usize,
        end_of_text: Option<u32>,
    ) -> Result<Self, DataError> {
        if length < 2 {
            return Err(DataError::Config {
                field: "length",
                got: length.to_string(),
                expected: "2 or more: a token is predicted from the one before it",
            });
        }
        let (mut ids, mut segments) = (Vec::new(), Vec::new());
        for document in documents {
            let mut segment = 0;
            for &id in document.iter().chain(&end_of_text) {
                if segment == 0 || ids.len().is_multiple_of(length) {
                    // One more than the last of this row: 1 at its beginning.
                    segment = match ids.len() % length {
                        0 => 1,
                        _ => segments.last().map_or(1, |last| last + 1),
                    };
                }
                ids.push(id);
                segments.push(segment);
            }
        }
        if ids.is_empty() {
            return Err(DataError::Config {
                field: "documents",
                got: "no tokens".to_owned(),
                expected: "documents with text",
            });
        }
        let whole = ids.len().next_multiple_of(length);
        ids.resize(whole, end_of_text.unwrap_or(0));
        segments.resize(whole, 0);
        Ok(Self {
            length,
            ids,
            segments,
        })
    }

    /// The first rows that have at least `tokens` tokens together, or all of them; at least one row.
    pub fn limited_to(mut self, tokens: usize) -> Self {
        let tokens = tokens.clamp(1, self.ids.len());
        let kept = tokens.next_multiple_of(self.length);
        self.ids.truncate(kept);
        self.segments.truncate(kept);
        self
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.ids.len() / self.length
    }

    /// Never: rows are packed from at least one token.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Tokens in a row.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The batches of one epoch: every row once, in an order that depends on the seed and the
    /// epoch alone. Rows that do not fill a last batch are left out, unless they are all there is.
    pub fn epoch(
        &self,
        seed: Seed,
        epoch: u64,
        batch_size: usize,
    ) -> impl Iterator<Item = TokenBatch> + '_ {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.shuffle(&mut seed.generator("epoch", epoch));
        let batch_size = batch_size.clamp(1, self.len());
        let batches = self.len() / batch_size;
        (0..batches).map(move |batch| {
            self.batch(&order[batch * batch_size..(batch + 1) * batch_size])
                .expect("rows of one length")
        })
    }

    /// Batches without end, epoch after epoch.
    pub fn forever(&self, seed: Seed, batch_size: usize) -> impl Iterator<Item = TokenBatch> + '_ {
        (0..).flat_map(move |epoch| self.epoch(seed, epoch, batch_size))
    }

    /// All rows in their order, `batch_size` at a time; the last batch may be smaller.
    pub fn in_order(&self, batch_size: usize) -> impl Iterator<Item = TokenBatch> + '_ {
        let rows: Vec<usize> = (0..self.len()).collect();
        let batch_size = batch_size.max(1);
        (0..self.len().div_ceil(batch_size)).map(move |batch| {
            let end = self.len().min((batch + 1) * batch_size);
            self.batch(&rows[batch * batch_size..end])
                .expect("rows of one length")
        })
    }

    fn batch(&self, rows: &[usize]) -> Result<TokenBatch, BatchError> {
        let gather = |values: &[u32]| -> Vec<u32> {
            rows.iter()
                .flat_map(|row| &values[row * self.length..(row + 1) * self.length])
                .copied()
                .collect()
        };
        let shape = [rows.len(), self.length];
        TokenBatch::packed(gather(&self.ids), gather(&self.segments), shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn documents_share_rows_and_go_on_in_the_next() {
        let rows = TokenRows::pack(&[vec![5, 6], vec![7, 8, 9]], 4, Some(0)).unwrap();
        assert_eq!(rows.ids, [5, 6, 0, 7, 8, 9, 0, 0]);
        assert_eq!(rows.segments, [1, 1, 1, 2, 1, 1, 1, 0]);
    }

    #[test]
    fn an_epoch_is_every_row_once_in_an_order_of_its_own() {
        let rows = TokenRows::pack(&[(0..100).collect()], 5, None).unwrap();
        let firsts = |epoch| -> Vec<u32> {
            rows.epoch(Seed(3), epoch, 4)
                .flat_map(|batch| batch.id_rows().map(|row| row[0]).collect::<Vec<_>>())
                .collect()
        };
        let mut sorted = firsts(0);
        assert_ne!(sorted, firsts(1));
        assert_eq!(sorted, firsts(0));
        sorted.sort();
        assert!(sorted.into_iter().eq((0..100).step_by(5)));
    }

    #[test]
    fn a_limit_keeps_whole_rows_and_at_least_one() {
        let rows = TokenRows::pack(&[(0..100).collect()], 8, None).unwrap();
        for (tokens, kept) in [(0, 1), (1, 1), (8, 1), (9, 2), (100, 13), (usize::MAX, 13)] {
            assert_eq!(
                rows.clone().limited_to(tokens).len(),
                kept,
                "{tokens} tokens"
            );
        }
    }

    #[test]
    fn no_tokens_are_an_error() {
        assert!(TokenRows::pack(&[], 4, None).is_err());
        assert!(TokenRows::pack(&[vec![1]], 1, None).is_err());
    }

    proptest! {
        #[test]
        fn no_token_is_lost(
            documents in prop::collection::vec(prop::collection::vec(1u32..50, 0..20), 1..8),
            length in 2usize..9,
        ) {
            let rows = TokenRows::pack(&documents, length, Some(0)).unwrap();
            let kept: Vec<u32> = rows.ids.iter().zip(&rows.segments)
                .filter(|(_, segment)| **segment != 0).map(|(id, _)| *id).collect();
            let expected: Vec<u32> =
                documents.iter().flat_map(|d| d.iter().copied().chain([0])).collect();
            prop_assert_eq!(kept, expected);
        }
    }
}
