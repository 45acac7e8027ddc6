use crate::ContentHash;
use distily_core::TokenBatch;

/// A row of a batch without its padding: what a teacher's answer depends on, and all of it.
pub(super) struct Row {
    /// The hash of the tokens' ids, positions and segments: the name of the row, in whatever batch
    /// it comes and however it is padded.
    pub(super) key: ContentHash,
    /// Where its tokens stand in the row.
    pub(super) places: Vec<usize>,
}

/// The rows of a batch.
pub(super) fn rows_of(batch: &TokenBatch) -> Vec<Row> {
    let positions = batch.positions().chunks_exact(batch.shape()[1]);
    let rows = batch.id_rows().zip(positions).zip(batch.segments().rows());
    rows.map(|((ids, positions), segments)| {
        let places: Vec<usize> = (0..ids.len()).filter(|&t| segments[t] != 0).collect();
        let part = |values: &[u32]| -> Vec<u8> {
            let values = places.iter().map(|&t| values[t]);
            values.flat_map(u32::to_le_bytes).collect()
        };
        let parts = [part(ids), part(positions), part(segments)];
        Row {
            key: ContentHash::of("recorded row", parts),
            places,
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
        assert_eq!(rows_of(&left)[0].places, [1, 2, 3]);
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
