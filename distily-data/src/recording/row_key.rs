use crate::ContentHash;
use distily_core::TokenBatch;
use std::ops::Range;

/// A row of a batch without its padding: what a teacher's answer depends on, and all of it.
pub(crate) struct Row {
    /// The hash of the tokens' ids, positions and segments: the name of the row, in whatever batch
    /// it comes and however it is padded.
    pub(super) key: ContentHash,
    /// Where its tokens stand in the row.
    pub(crate) places: Vec<usize>,
    /// Its tokens.
    pub(crate) ids: Vec<u32>,
    /// Which of its tokens are those of each document.
    pub(crate) documents: Vec<Range<usize>>,
}

/// The rows of a batch.
pub(crate) fn rows_of(batch: &TokenBatch) -> Vec<Row> {
    let positions = batch.positions().chunks_exact(batch.shape()[1]);
    let rows = batch.id_rows().zip(positions).zip(batch.segments().rows());
    rows.map(|((ids, positions), segments)| {
        let places: Vec<usize> = (0..ids.len()).filter(|&t| segments[t] != 0).collect();
        let part = |values: &[u32]| -> Vec<u32> { places.iter().map(|&t| values[t]).collect() };
        let parts = [part(ids), part(positions), part(segments)];
        let bytes = |part: &Vec<u32>| -> Vec<u8> {
            part.iter().flat_map(|value| value.to_le_bytes()).collect()
        };
        let key = ContentHash::of("recorded row", parts.iter().map(bytes));
        let [ids, _, segments] = parts;
        let mut end = 0;
        let documents = segments.chunk_by(|a, b| a == b).map(|document| {
            let start = end;
            end += document.len();
            start..end
        });
        Row {
            key,
            documents: documents.collect(),
            places,
            ids,
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(batch: &TokenBatch) -> ContentHash {
        rows_of(batch)[0].key
    }

    #[test]
    fn padding_does_not_name_a_row_and_all_else_does() {
        let batch = |ids: &[u32], segments: &[u32]| {
            TokenBatch::packed(ids.to_vec(), segments.to_vec(), [1, ids.len()]).unwrap()
        };
        let row = batch(&[5, 6, 7], &[1, 1, 2]);
        assert_eq!(key(&row), key(&batch(&[5, 6, 7, 9, 9], &[1, 1, 2, 0, 0])));
        let left = batch(&[9, 5, 6, 7], &[0, 1, 1, 2]);
        assert_eq!(key(&row), key(&left));
        let Row {
            places,
            ids,
            documents,
            ..
        } = &rows_of(&left)[0];
        assert_eq!(
            (places.as_slice(), ids.as_slice()),
            (&[1, 2, 3][..], &[5, 6, 7][..])
        );
        assert_eq!(documents.as_slice(), [0..2, 2..3]);
        let masked = row.clone().with_loss_mask(vec![false; 3]).unwrap();
        assert_eq!(key(&row), key(&masked), "a teacher reads no loss mask");
        for other in [
            batch(&[5, 6, 8], &[1, 1, 2]),
            batch(&[5, 6, 7], &[1, 1, 1]),
            row.clone().with_positions(vec![1, 2, 0]).unwrap(),
        ] {
            assert_ne!(key(&row), key(&other));
        }
    }
}
