use burn::tensor::{Device, Int, Tensor, TensorData};
use distily_kernels::Segments;
use thiserror::Error;

/// Why tokens do not make a batch.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchError {
    /// No row, or rows without tokens.
    #[error("a batch needs at least one row of at least one token, got [{rows}, {length}]")]
    Empty {
        /// Rows.
        rows: usize,
        /// Tokens in a row.
        length: usize,
    },
    /// A part of the batch has another number of elements than the batch has tokens.
    #[error("{part} has {got} elements, but the batch [{rows}, {length}] has {}", rows * length)]
    WrongLength {
        /// What was given.
        part: &'static str,
        /// Its elements.
        got: usize,
        /// Rows.
        rows: usize,
        /// Tokens in a row.
        length: usize,
    },
}

/// A batch of token ids, with what a model and a loss must know of them.
///
/// It lives in the host's memory (a few kilobytes), so that it can be made on any thread, checked
/// without asking a device, and read by a student and a teacher on different ones.
///
/// * **Segments** keep documents apart that share a row: 0 is padding, 1, 2, … are documents. A
///   token sees only its own document, and padding is never seen.
/// * **Positions** count from 0 in each segment.
/// * **The loss mask** says which tokens count as *targets*. The prediction made at `t` is scored
///   if token `t + 1` counts and belongs to the same document; see [`predictions`](Self::predictions).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    shape: [usize; 2],
    ids: Vec<u32>,
    positions: Vec<u32>,
    segments: Segments,
    counts: Vec<bool>,
}

impl TokenBatch {
    /// A batch `[rows, length]` in which every row is one document and every token counts.
    ///
    /// # Errors
    ///
    /// [`BatchError::Empty`], [`BatchError::WrongLength`].
    pub fn new(ids: Vec<u32>, shape: [usize; 2]) -> Result<Self, BatchError> {
        let segments = vec![1; ids.len()];
        Self::packed(ids, segments, shape)
    }

    /// A batch `[rows, length]` with a segment id for each token (0 is padding).
    ///
    /// # Errors
    ///
    /// [`BatchError::Empty`], [`BatchError::WrongLength`].
    pub fn packed(
        ids: Vec<u32>,
        segments: Vec<u32>,
        shape: [usize; 2],
    ) -> Result<Self, BatchError> {
        let [rows, length] = shape;
        if rows == 0 || length == 0 {
            return Err(BatchError::Empty { rows, length });
        }
        check_length("ids", ids.len(), shape)?;
        check_length("segments", segments.len(), shape)?;
        let positions = segments
            .chunks_exact(length)
            .flat_map(positions_of_row)
            .collect();
        let counts = segments.iter().map(|&segment| segment != 0).collect();
        Ok(Self {
            shape,
            ids,
            positions,
            segments: Segments::new(segments, shape),
            counts,
        })
    }

    /// A batch of rows of unequal length, filled up with `padding` on the right.
    ///
    /// # Errors
    ///
    /// [`BatchError::Empty`].
    pub fn padded_right(rows: &[Vec<u32>], padding: u32) -> Result<Self, BatchError> {
        Self::padded(rows, padding, |row, fill| {
            row.iter().copied().chain(fill).collect()
        })
    }

    /// A batch of rows of unequal length, filled up with `padding` on the left, as generation wants
    /// it: the last column is the last token of every row.
    ///
    /// # Errors
    ///
    /// [`BatchError::Empty`].
    pub fn padded_left(rows: &[Vec<u32>], padding: u32) -> Result<Self, BatchError> {
        Self::padded(rows, padding, |row, fill| {
            fill.chain(row.iter().copied()).collect()
        })
    }

    fn padded(
        rows: &[Vec<u32>],
        padding: u32,
        fill_up: impl Fn(&[u32], std::iter::RepeatN<u32>) -> Vec<u32>,
    ) -> Result<Self, BatchError> {
        let length = rows.iter().map(Vec::len).max().unwrap_or(0);
        let fill = |row: &[u32], value| std::iter::repeat_n(value, length - row.len());
        let ids = rows
            .iter()
            .flat_map(|row| fill_up(row, fill(row, padding)))
            .collect();
        let segments = rows
            .iter()
            .flat_map(|row| fill_up(&vec![1; row.len()], fill(row, 0)))
            .collect();
        Self::packed(ids, segments, [rows.len(), length])
    }

    /// This batch with positions of its own, `[rows * length]`: for rows that continue a cache.
    ///
    /// # Errors
    ///
    /// [`BatchError::WrongLength`].
    pub fn with_positions(mut self, positions: Vec<u32>) -> Result<Self, BatchError> {
        check_length("positions", positions.len(), self.shape)?;
        self.positions = positions;
        Ok(self)
    }

    /// This batch in which only the tokens with `true` count as targets, `[rows * length]`: the
    /// assistant's turns of a conversation, say. Padding never counts.
    ///
    /// # Errors
    ///
    /// [`BatchError::WrongLength`].
    pub fn with_loss_mask(mut self, counts: Vec<bool>) -> Result<Self, BatchError> {
        check_length("loss mask", counts.len(), self.shape)?;
        self.counts = counts
            .iter()
            .zip(self.segments.ids())
            .map(|(&counts, &segment)| counts && segment != 0)
            .collect();
        Ok(self)
    }

    /// The tokens of each row followed by those of `next`, as they are in either; `None` if the rows
    /// are not as many.
    pub fn followed_by(&self, next: &Self) -> Option<Self> {
        let segments = self.segments.followed_by(&next.segments)?;
        let [length, added] = [self.shape[1], next.shape[1]];
        fn joined<T: Copy>(first: &[T], second: &[T], lengths: [usize; 2]) -> Vec<T> {
            first
                .chunks_exact(lengths[0])
                .zip(second.chunks_exact(lengths[1]))
                .flat_map(|(first, second)| first.iter().chain(second).copied())
                .collect()
        }
        let lengths = [length, added];
        Some(Self {
            shape: segments.shape(),
            ids: joined(&self.ids, &next.ids, lengths),
            positions: joined(&self.positions, &next.positions, lengths),
            counts: joined(&self.counts, &next.counts, lengths),
            segments,
        })
    }

    /// `[rows, length]`.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The ids, `[rows, length]`.
    pub fn ids(&self, device: &Device) -> Tensor<2, Int> {
        self.int(&self.ids, device)
    }

    /// The positions, `[rows, length]`, as a tensor.
    pub fn position_ids(&self, device: &Device) -> Tensor<2, Int> {
        self.int(&self.positions, device)
    }

    /// The positions, row after row.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// The segment ids; 0 is padding.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// The ids of each row.
    pub fn id_rows(&self) -> impl Iterator<Item = &[u32]> {
        self.ids.chunks_exact(self.shape[1])
    }

    /// The largest id.
    pub fn largest_id(&self) -> u32 {
        self.ids.iter().copied().max().unwrap_or(0)
    }

    /// Tokens of the longest sequence: the largest position, plus one.
    pub fn longest(&self) -> usize {
        self.positions
            .iter()
            .max()
            .map_or(0, |&position| position as usize + 1)
    }

    /// Whether the prediction made at each position is scored, row after row. The last position of
    /// a row predicts nothing that is known, so it never is.
    pub fn prediction_mask(&self) -> Vec<bool> {
        let length = self.shape[1];
        let mut mask = vec![false; self.ids.len()];
        for (row, segments) in self.segments.rows().enumerate() {
            for t in 0..length - 1 {
                mask[row * length + t] =
                    segments[t] == segments[t + 1] && self.counts[row * length + t + 1];
            }
        }
        mask
    }

    /// How many predictions are scored: the divisor of a mean over tokens.
    pub fn predictions(&self) -> usize {
        self.prediction_mask().iter().filter(|&&m| m).count()
    }

    /// The weight of each prediction in a mean over `predictions`, `[rows * length]`:
    /// 1 / predictions where it is scored, else 0.
    pub fn prediction_weights(&self, predictions: usize, device: &Device) -> Tensor<1> {
        let share = 1.0 / predictions.max(1) as f32;
        let mask = self.prediction_mask();
        let weights: Vec<f32> = mask
            .iter()
            .map(|&scored| if scored { share } else { 0.0 })
            .collect();
        let device = device.clone().without_autodiff();
        Tensor::from_data(TensorData::new(weights, [mask.len()]), &device)
    }

    /// The id that each position should predict, `[rows, length]`; 0 where the prediction is not
    /// scored.
    pub fn targets(&self) -> Vec<u32> {
        self.prediction_mask()
            .iter()
            .enumerate()
            .map(|(at, &scored)| if scored { self.ids[at + 1] } else { 0 })
            .collect()
    }

    /// [`targets`](Self::targets) as a tensor `[rows * length]`.
    pub fn target_ids(&self, device: &Device) -> Tensor<1, Int> {
        self.int(&self.targets(), device).flatten(0, 1)
    }

    fn int(&self, values: &[u32], device: &Device) -> Tensor<2, Int> {
        let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
        Tensor::from_data(TensorData::new(values, self.shape), device)
    }
}

fn check_length(part: &'static str, got: usize, shape: [usize; 2]) -> Result<(), BatchError> {
    let [rows, length] = shape;
    if got == rows * length {
        Ok(())
    } else {
        Err(BatchError::WrongLength {
            part,
            got,
            rows,
            length,
        })
    }
}

/// Positions count from 0 wherever the segment changes; padding has none, and gets 0.
fn positions_of_row(segments: &[u32]) -> Vec<u32> {
    let mut position = 0;
    let mut previous = None;
    segments
        .iter()
        .map(|&segment| {
            position = if segment != 0 && previous == Some(segment) {
                position + 1
            } else {
                0
            };
            previous = Some(segment);
            position
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn padding_is_no_position() {
        let rows = [vec![5, 6], vec![7; 9]];
        let batch = TokenBatch::padded_right(&rows, 0).unwrap();
        assert_eq!(&batch.positions()[..9], [0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let short = TokenBatch::packed(vec![1; 6], vec![1, 1, 0, 0, 0, 0], [1, 6]).unwrap();
        assert_eq!(short.longest(), 2);
    }

    fn packed() -> TokenBatch {
        TokenBatch::packed(vec![1, 2, 3, 4, 5, 6], vec![1, 1, 2, 2, 2, 0], [1, 6]).unwrap()
    }

    #[test]
    fn positions_restart_with_each_document() {
        assert_eq!(packed().positions(), [0, 1, 0, 1, 2, 0]);
    }

    #[test]
    fn no_prediction_crosses_a_document_or_reaches_padding() {
        assert_eq!(
            packed().prediction_mask(),
            [true, false, true, true, false, false]
        );
        assert_eq!(packed().targets(), [2, 0, 4, 5, 0, 0]);
    }

    #[test]
    fn the_loss_mask_names_targets() {
        let batch = packed()
            .with_loss_mask(vec![true, true, false, false, true, true])
            .unwrap();
        assert_eq!(
            batch.prediction_mask(),
            [true, false, false, true, false, false]
        );
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert_eq!(
            TokenBatch::new(vec![], [0, 4]).unwrap_err().to_string(),
            "a batch needs at least one row of at least one token, got [0, 4]"
        );
        assert_eq!(
            TokenBatch::new(vec![1, 2, 3], [1, 4])
                .unwrap_err()
                .to_string(),
            "ids has 3 elements, but the batch [1, 4] has 4"
        );
    }

    proptest! {
        #[test]
        fn both_paddings_keep_the_tokens(
            rows in prop::collection::vec(prop::collection::vec(1u32..100, 1..9), 1..5),
        ) {
            let total: usize = rows.iter().map(|row| row.len() - 1).sum();
            for batch in [
                TokenBatch::padded_left(&rows, 0).unwrap(),
                TokenBatch::padded_right(&rows, 0).unwrap(),
            ] {
                prop_assert_eq!(batch.predictions(), total);
                for (padded, row) in batch.id_rows().zip(&rows) {
                    let kept: Vec<u32> = padded.iter().copied().filter(|&id| id != 0).collect();
                    prop_assert_eq!(&kept, row);
                }
            }
        }
    }
}
