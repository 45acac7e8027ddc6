//! Memory that nobody has written yet.

use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The elements of a result, before all cores write them. Chunks are handed out as zeros: the core that
/// takes one writes them, and then has it in its cache. `vec![0.0; n]` would write all of them on one
/// core first, or have the system do it a page at a time.
pub(super) struct Unwritten {
    elements: Vec<f32>,
    length: usize,
    /// How many elements the last call of `par_chunks_mut` handed out: two calls that each hand out a part
    /// may not add up to all.
    handed_out: AtomicUsize,
}

impl Unwritten {
    pub(super) fn new(length: usize) -> Self {
        Self {
            elements: Vec::with_capacity(length),
            length,
            handed_out: AtomicUsize::new(0),
        }
    }

    /// The elements in chunks of a size (at least 1), all of which must be taken.
    pub(super) fn par_chunks_mut(
        &mut self,
        size: usize,
    ) -> impl IndexedParallelIterator<Item = &mut [f32]> {
        let Self {
            elements,
            length,
            handed_out,
        } = self;
        *handed_out.get_mut() = 0;
        let handed_out = &*handed_out;
        let elements = &mut elements.spare_capacity_mut()[..*length];
        let chunks = elements.par_chunks_mut(size.max(1));
        chunks.map(|chunk| {
            handed_out.fetch_add(chunk.len(), Ordering::Relaxed);
            chunk.fill(MaybeUninit::new(0.0));
            // SAFETY: each element has just been written.
            #[allow(unsafe_code)]
            unsafe {
                chunk.assume_init_mut()
            }
        })
    }

    /// The elements, once [`par_chunks_mut`](Self::par_chunks_mut) handed out all of them.
    ///
    /// # Panics
    ///
    /// If it did not.
    pub(super) fn into_vec(self) -> Vec<f32> {
        let Self {
            mut elements,
            length,
            handed_out,
        } = self;
        assert_eq!(handed_out.into_inner(), length, "chunks were not taken");
        // SAFETY: a chunk is handed out once, and with every element written: they are as many as all.
        #[allow(unsafe_code)]
        unsafe {
            elements.set_len(length);
        }
        elements
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_is_zero() {
        for length in [0, 1, 10, 1000] {
            // Memory that was used before.
            drop(vec![1.0f32; length]);
            let mut elements = Unwritten::new(length);
            let chunks = elements.par_chunks_mut(7).enumerate();
            chunks.for_each(|(at, chunk)| chunk[0] = at as f32);
            let expected = (0..length).map(|at| {
                let first = at % 7 == 0;
                if first { (at / 7) as f32 } else { 0.0 }
            });
            assert_eq!(elements.into_vec(), expected.collect::<Vec<_>>());
        }
    }

    #[test]
    #[should_panic(expected = "chunks were not taken")]
    fn chunks_that_nobody_took_are_not_given_away() {
        let mut elements = Unwritten::new(20);
        // Twice the same ten, which are as many as all.
        elements.par_chunks_mut(5).take(2).for_each(|_| ());
        elements.par_chunks_mut(5).take(2).for_each(|_| ());
        elements.into_vec();
    }
}
