use crate::{DataError, Permutation, Prefetch, TokenRows};
use burn_dataset::{Dataset, DatasetError};
use distily_core::{Seed, TokenBatch};

/// Shuffled batches, each of which is known by (seed, epoch, index) alone: a run is resumed by
/// asking for the next one.
///
/// ```
/// use distily_core::Seed;
/// use distily_data::{Packing, TokenRows, Tokens};
///
/// let tokens = Tokens::new(&[(0..1000).collect()])?;
/// let batches = TokenRows::pack(tokens, Packing::Wrapped, 10)?.batches(8);
/// assert_eq!(batches.per_epoch(), 12); // of 100 rows, 4 are left out
/// // The third batch of the second epoch, however it is come by.
/// let batch = batches.at(Seed(1), 1, 2)?;
/// assert_eq!(batches.after(Seed(1), 12 + 2).next().unwrap()?, batch);
/// # Ok::<(), distily_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batches {
    rows: TokenRows,
    batch_size: usize,
}

impl Batches {
    pub(crate) fn new(rows: TokenRows, batch_size: usize) -> Self {
        let batch_size = batch_size.clamp(1, rows.len());
        Self { rows, batch_size }
    }

    /// Batches of an epoch. Each row comes at most once; those that do not fill a last batch are
    /// left out, others in each epoch.
    pub fn per_epoch(&self) -> usize {
        self.rows.len() / self.batch_size
    }

    /// One batch.
    ///
    /// # Errors
    ///
    /// [`DataError`] where the tokens can't be read.
    ///
    /// # Panics
    ///
    /// If `index` is not less than [`per_epoch`](Self::per_epoch).
    pub fn at(&self, seed: Seed, epoch: u64, index: usize) -> Result<TokenBatch, DataError> {
        let batches = self.per_epoch();
        assert!(index < batches, "batch {index} of an epoch of {batches}");
        let order = Permutation::new(seed, epoch, self.rows.len() as u64);
        let places = index * self.batch_size..(index + 1) * self.batch_size;
        self.rows
            .batch(places.map(|place| order.at(place as u64) as usize))
    }

    /// Batches without end, epoch after epoch, but for the first `taken`.
    pub fn after(
        &self,
        seed: Seed,
        taken: u64,
    ) -> impl Iterator<Item = Result<TokenBatch, DataError>> + Send + 'static {
        let batches = self.clone();
        let per_epoch = self.per_epoch() as u64;
        (taken..)
            .map(move |batch| batches.at(seed, batch / per_epoch, (batch % per_epoch) as usize))
    }

    /// [`after`](Self::after) with `ahead` batches made on another thread before they are asked for.
    pub fn prefetched(
        &self,
        seed: Seed,
        taken: u64,
        ahead: usize,
    ) -> Prefetch<Result<TokenBatch, DataError>> {
        Prefetch::new(self.after(seed, taken), ahead)
    }

    /// One epoch as a dataset of burn's, whose items are whole batches.
    pub fn epoch(&self, seed: Seed, epoch: u64) -> Epoch {
        Epoch {
            batches: self.clone(),
            seed,
            epoch,
        }
    }
}

/// The batches of one epoch as burn's [`Dataset`]; a data loader takes them one at a time.
#[derive(Debug, Clone)]
pub struct Epoch {
    batches: Batches,
    seed: Seed,
    epoch: u64,
}

impl Dataset<TokenBatch> for Epoch {
    fn get(&self, index: usize) -> Result<TokenBatch, DatasetError> {
        self.batches
            .at(self.seed, self.epoch, index)
            .map_err(DatasetError::new)
    }

    fn len(&self) -> usize {
        self.batches.per_epoch()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Packing, Tokens};

    fn batches(batch_size: usize) -> Batches {
        let tokens = Tokens::new(&[(0..100).collect()]).unwrap();
        TokenRows::pack(tokens, Packing::Wrapped, 5)
            .unwrap()
            .batches(batch_size)
    }

    /// The first token of each row.
    fn firsts(batch: &TokenBatch) -> Vec<u32> {
        batch.id_rows().map(|row| row[0]).collect()
    }

    #[test]
    fn an_epoch_is_every_row_once_in_an_order_of_its_own() {
        let batches = batches(4);
        let epoch = |epoch| -> Vec<u32> {
            let epoch = batches.epoch(Seed(3), epoch);
            epoch
                .iter()
                .flat_map(|batch| firsts(&batch.unwrap()))
                .collect()
        };
        let mut sorted = epoch(0);
        assert_ne!(sorted, epoch(1));
        assert_eq!(sorted, epoch(0));
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq((0..100).step_by(5)));
    }

    #[test]
    fn a_run_goes_on_where_it_was_left() {
        let batches = batches(3);
        let whole: Vec<TokenBatch> = batches
            .after(Seed(1), 0)
            .take(20)
            .map(Result::unwrap)
            .collect();
        for taken in 0..20 {
            let rest = batches.prefetched(Seed(1), taken, 2).map(Result::unwrap);
            let taken = taken as usize;
            assert!(rest.take(20 - taken).eq(whole[taken..].iter().cloned()));
        }
    }

    #[test]
    fn fewer_rows_than_a_batch_are_one_batch() {
        let batches = batches(1000);
        assert_eq!(batches.per_epoch(), 1);
        assert_eq!(batches.at(Seed(1), 0, 0).unwrap().shape(), [20, 5]);
    }
}
