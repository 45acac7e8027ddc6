use crate::{Batches, ContentHash, DataError, Packed, Packing, Tokens};
use distily_core::TokenBatch;
use std::sync::Arc;

/// Tokens packed into rows of one length. Clones share the tokens.
#[derive(Debug, Clone)]
pub struct TokenRows {
    tokens: Arc<Tokens>,
    packing: Packing,
    packed: Arc<Packed>,
    length: u32,
    /// How many of the packed rows there are.
    rows: usize,
}

impl TokenRows {
    /// Packs tokens into rows of `length`. What the documents of a row leave of it is padding;
    /// documents that share a row have different segments.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] for rows shorter than two tokens, or no tokens at all.
    pub fn pack(
        tokens: impl Into<Arc<Tokens>>,
        packing: Packing,
        length: usize,
    ) -> Result<Self, DataError> {
        let tokens = tokens.into();
        let config = |field, got, expected| DataError::Config {
            field,
            got,
            expected,
        };
        let length = u32::try_from(length)
            .ok()
            .filter(|&length| length >= 2)
            .ok_or_else(|| {
                config(
                    "length",
                    length.to_string(),
                    "2 or more, and fewer than 2^32: a token is predicted from the one before it",
                )
            })?;
        let packed = packing.pack(tokens.document_lengths(), length);
        if packed.rows() == 0 {
            return Err(config(
                "documents",
                "no tokens".to_owned(),
                "documents with text",
            ));
        }
        Ok(Self {
            tokens,
            packing,
            rows: packed.rows(),
            packed: Arc::new(packed),
            length,
        })
    }

    /// The first rows that have at least `tokens` places together, or all of them; at least one row.
    pub fn limited_to(mut self, tokens: usize) -> Self {
        self.rows = tokens.div_ceil(self.length()).clamp(1, self.rows);
        self
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Never: rows are packed from at least one token.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Tokens in a row, padding among them.
    pub fn length(&self) -> usize {
        self.length as usize
    }

    /// What the rows are: the hash of the tokens' key, the packing and the length, and how many rows
    /// there are.
    pub fn key(&self) -> ContentHash {
        ContentHash::of(
            "rows",
            [
                self.tokens.key().as_bytes().as_slice(),
                format!("{:?}", self.packing).as_bytes(),
                &self.length.to_le_bytes(),
                &(self.rows as u64).to_le_bytes(),
            ],
        )
    }

    /// All rows in their order, `batch_size` at a time; the last batch may be smaller.
    pub fn in_order(
        &self,
        batch_size: usize,
    ) -> impl Iterator<Item = Result<TokenBatch, DataError>> + '_ {
        let batch_size = batch_size.max(1);
        (0..self.rows)
            .step_by(batch_size)
            .map(move |start| self.batch(start..self.rows.min(start + batch_size)))
    }

    /// Shuffled batches of `batch_size` rows, or of all rows if there are fewer.
    pub fn batches(&self, batch_size: usize) -> Batches {
        Batches::new(self.clone(), batch_size)
    }

    /// Some rows as a batch.
    pub(crate) fn batch(
        &self,
        rows: impl IntoIterator<Item = usize>,
    ) -> Result<TokenBatch, DataError> {
        let (mut ids, mut segments, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        let mut end = 0;
        for row in rows {
            for (segment, piece) in (1..).zip(self.packed.row(row)) {
                let tokens = piece.start..piece.start + u64::from(piece.length);
                self.tokens.read(&mut ids, tokens.clone())?;
                segments.resize(ids.len(), segment);
                if !self.tokens.mask().is_empty() {
                    self.tokens.mask().extend(&mut counts, tokens);
                }
            }
            end += self.length();
            ids.resize(end, 0);
            segments.resize(end, 0);
            if !self.tokens.mask().is_empty() {
                counts.resize(end, false);
            }
        }
        let shape = [end / self.length(), self.length()];
        let batch = TokenBatch::packed(ids, segments, shape).expect("rows of one length");
        Ok(if counts.is_empty() {
            batch
        } else {
            batch.with_loss_mask(counts).expect("as many as tokens")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(documents: &[Vec<u32>], packing: Packing, length: usize) -> TokenRows {
        TokenRows::pack(Tokens::new(documents).unwrap(), packing, length).unwrap()
    }

    #[test]
    fn documents_share_rows_and_go_on_in_the_next() {
        let rows = rows(&[vec![5, 6, 1], vec![7, 8, 9, 1]], Packing::Wrapped, 4);
        let batch = rows.in_order(2).next().unwrap().unwrap();
        let expected = TokenBatch::packed(
            vec![5, 6, 1, 7, 8, 9, 1, 0],
            vec![1, 1, 1, 2, 1, 1, 1, 0],
            [2, 4],
        );
        assert_eq!(batch, expected.unwrap());
    }

    #[test]
    fn a_limit_keeps_whole_rows_and_at_least_one() {
        let rows = rows(&[(0..100).collect()], Packing::Wrapped, 8);
        for (tokens, kept) in [(0, 1), (1, 1), (8, 1), (9, 2), (100, 13), (usize::MAX, 13)] {
            let limited = rows.clone().limited_to(tokens);
            assert_eq!((limited.len(), limited.in_order(1).count()), (kept, kept));
        }
    }

    #[test]
    fn no_tokens_are_an_error() {
        let pack = |documents: &[Vec<u32>], length| {
            TokenRows::pack(Tokens::new(documents).unwrap(), Packing::Wrapped, length)
        };
        assert!(pack(&[], 4).is_err());
        assert!(pack(&[vec![]], 4).is_err());
        assert!(pack(&[vec![1]], 1).is_err());
    }

    #[test]
    fn other_rows_have_another_key() {
        let documents = [(0..100).collect(), (0..50).collect()];
        let all = rows(&documents, Packing::Wrapped, 8);
        assert_eq!(all.key(), rows(&documents, Packing::Wrapped, 8).key());
        for other in [
            rows(&documents[..1], Packing::Wrapped, 8),
            rows(&documents, Packing::BestFit, 8),
            rows(&documents, Packing::Wrapped, 9),
            all.clone().limited_to(20),
        ] {
            assert_ne!(all.key(), other.key());
        }
    }

    proptest! {
        #[test]
        fn each_segment_is_a_part_of_a_document(
            documents in prop::collection::vec(prop::collection::vec(1u32..50, 0..20), 1..8),
            length in 2usize..9,
        ) {
            prop_assume!(documents.iter().any(|document| !document.is_empty()));
            let tokens: usize = documents.iter().map(Vec::len).sum();
            for packing in [Packing::Wrapped, Packing::BestFit, Packing::Padded] {
                let mut found = 0;
                for batch in rows(&documents, packing, length).in_order(3) {
                    let batch = batch.unwrap();
                    for (ids, segments) in batch.id_rows().zip(batch.segments().rows()) {
                        let mut at = 0;
                        for segment in segments.chunk_by(|a, b| a == b) {
                            let ids = &ids[at..at + segment.len()];
                            at += segment.len();
                            if segment[0] != 0 {
                                found += ids.len();
                                let is_part = |document: &Vec<u32>| {
                                    document.windows(ids.len()).any(|part| part == ids)
                                };
                                prop_assert!(documents.iter().any(is_part));
                            }
                        }
                    }
                }
                match packing {
                    Packing::Padded => prop_assert!(found <= tokens),
                    _ => prop_assert_eq!(found, tokens),
                }
            }
        }
    }
}
