use super::encoder::Encoded;
use super::layout::{narrow_counts, narrow_ids};
use super::{Codec, RecordingConfig};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::sync::LazyLock;

/// exp of every f16, by its bits: what a log-probability says, without computing it anew each time.
static EXP: LazyLock<Vec<f32>> = LazyLock::new(|| {
    (0..=u16::MAX)
        .map(|bits| f16::from_bits(bits).to_f32().exp())
        .collect()
});

/// Where the ids of some tokens go, each token with `k` places.
pub(super) struct SparseRows<'a> {
    pub(super) k: usize,
    pub(super) ids: &'a mut [i32],
    pub(super) probabilities: &'a mut [f32],
    pub(super) tail: &'a mut [f32],
}

impl Encoded {
    /// How many ids each token has; as many as there are.
    pub(super) fn lengths(&self, config: &RecordingConfig) -> Result<Vec<usize>, String> {
        let bytes = match (&config.codec, self.data.as_slice()) {
            (Codec::TopK { .. }, [_, _, _, lengths, ..]) => lengths,
            (Codec::Sampled { .. }, [_, lengths, ..]) => lengths,
            _ => return Ok(Vec::new()),
        };
        let words = bytes.as_chunks().0.iter();
        let lengths: Vec<usize> = words.map(|&n| u16::from_le_bytes(n).into()).collect();
        let sum: usize = lengths.iter().sum();
        if sum as u64 != self.entries {
            return Err(format!("{sum} ids, expected {}", self.entries));
        }
        Ok(lengths)
    }

    /// The known ids of the tokens at their places.
    pub(super) fn sparse(
        &self,
        config: &RecordingConfig,
        lengths: &[usize],
        places: &[usize],
        to: &mut SparseRows<'_>,
    ) -> Result<(), String> {
        match (&config.codec, self.data.as_slice()) {
            (Codec::TopK { .. }, [ids, logs, tails, ..]) => {
                let logs = logs.as_chunks().0;
                let p = |at: usize| EXP[usize::from(u16::from_le_bytes(logs[at]))];
                self.place(config, ids, lengths, places, p, to)?;
                for (&place, &tail) in places.iter().zip(tails.as_chunks().0) {
                    let tail = f16::from_le_bytes(tail).to_f32();
                    if !(0.0..=1.0).contains(&tail) {
                        return Err(format!("a tail of {tail}"));
                    }
                    to.tail[place] = tail;
                }
                Ok(())
            }
            (&Codec::Sampled { draws, .. }, [ids, _, .., counts]) => {
                let share = 1.0 / draws as f32;
                let narrow = narrow_counts(draws);
                let p = |at: usize| match narrow {
                    true => f32::from(counts[at]) * share,
                    false => {
                        let count = [counts[2 * at], counts[2 * at + 1]];
                        f32::from(u16::from_le_bytes(count)) * share
                    }
                };
                self.place(config, ids, lengths, places, p, to)
            }
            _ => Err("no ids".to_owned()),
        }
    }

    fn place(
        &self,
        config: &RecordingConfig,
        ids: &[u8],
        lengths: &[usize],
        places: &[usize],
        probability: impl Fn(usize) -> f32,
        to: &mut SparseRows<'_>,
    ) -> Result<(), String> {
        let narrow = narrow_ids(config.shape.vocabulary);
        let (short, long) = (ids.as_chunks::<2>().0, ids.as_chunks::<4>().0);
        // Compared once for the row: the loop has no branch.
        let (mut largest_id, mut largest, mut sound, mut at) = (0u32, 0f32, true, 0);
        for (&place, &length) in places.iter().zip(lengths) {
            let start = place * to.k;
            let ids = &mut to.ids[start..start + length];
            for (offset, id) in ids.iter_mut().enumerate() {
                let value = match narrow {
                    true => u16::from_le_bytes(short[at + offset]).into(),
                    false => u32::from_le_bytes(long[at + offset]),
                };
                largest_id = largest_id.max(value);
                *id = value as i32;
            }
            let probabilities = &mut to.probabilities[start..start + length];
            for (offset, p) in probabilities.iter_mut().enumerate() {
                *p = probability(at + offset);
                largest = largest.max(*p);
                sound &= !p.is_nan();
            }
            at += length;
        }
        if largest_id as usize >= config.shape.vocabulary {
            return Err(format!("id {largest_id} is not in the vocabulary"));
        }
        if !sound || largest > 1.01 {
            return Err(format!(
                "a probability of {largest}, or one that is no number"
            ));
        }
        Ok(())
    }

    /// The log-probabilities of all ids at each token's place, `[.., vocabulary]`.
    pub(super) fn full(
        &self,
        config: &RecordingConfig,
        places: &[usize],
        to: &mut [f32],
    ) -> Result<(), String> {
        place_halves(&self.data[0], config.shape.vocabulary, places, to);
        // minus infinity is the logarithm of 0.
        match to.iter().any(|log| log.is_nan() || *log > 0.01) {
            true => Err("a log-probability above 0, or one that is no number".to_owned()),
            false => Ok(()),
        }
    }

    /// The hidden states of the `nth` layer that is kept at each token's place, `[.., width]`.
    pub(super) fn hidden(
        &self,
        config: &RecordingConfig,
        nth: usize,
        places: &[usize],
        to: &mut [f32],
    ) -> Result<(), String> {
        let before = match config.codec {
            Codec::Full => 1,
            Codec::TopK { .. } => 4,
            Codec::Sampled { .. } => 2,
        };
        place_halves(&self.data[before + nth], config.shape.width, places, to);
        match to.iter().all(|x| x.is_finite()) {
            true => Ok(()),
            false => Err("a hidden state that is no number".to_owned()),
        }
    }
}

fn place_halves(bytes: &[u8], width: usize, places: &[usize], to: &mut [f32]) {
    for (&place, bytes) in places.iter().zip(bytes.chunks_exact(2 * width)) {
        let halves = bytes.as_chunks().0.iter();
        let halves: Vec<f16> = halves.map(|&half| f16::from_le_bytes(half)).collect();
        halves.convert_to_f32_slice(&mut to[place * width..(place + 1) * width]);
    }
}
