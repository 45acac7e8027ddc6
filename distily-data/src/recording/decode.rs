use super::encoder::Encoded;
use super::layout::{narrow_counts, narrow_ids};
use super::{Codec, RecordingConfig};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::ops::Range;
use std::sync::LazyLock;

/// exp of every f16, by its bits: what a log-probability says, without computing it anew each time.
static EXP: LazyLock<Box<[f32; 1 << 16]>> = LazyLock::new(|| {
    let mut exp = Box::new([0.0; 1 << 16]);
    for (bits, exp) in (0..=u16::MAX).zip(exp.iter_mut()) {
        *exp = f16::from_bits(bits).to_f32().exp();
    }
    exp
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
        // One token with many would make room for as many in all of a batch.
        let most = config.codec.most_ids(config.shape.vocabulary);
        if let Some(length) = lengths.iter().find(|length| **length > most) {
            return Err(format!("{length} ids of a token, expected at most {most}"));
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
                let (logs, exp) = (logs.as_chunks().0, &**EXP);
                let p = |entries: Range<usize>, to: &mut [f32]| {
                    for (p, &log) in to.iter_mut().zip(&logs[entries]) {
                        *p = exp[usize::from(u16::from_le_bytes(log))];
                    }
                };
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
                let p = |entries: Range<usize>, to: &mut [f32]| match narrow {
                    true => {
                        for (p, &count) in to.iter_mut().zip(&counts[entries]) {
                            *p = f32::from(count) * share;
                        }
                    }
                    false => {
                        for (p, &count) in to.iter_mut().zip(&counts.as_chunks().0[entries]) {
                            *p = f32::from(u16::from_le_bytes(count)) * share;
                        }
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
        probabilities: impl Fn(Range<usize>, &mut [f32]),
        to: &mut SparseRows<'_>,
    ) -> Result<(), String> {
        let narrow = narrow_ids(config.shape.vocabulary);
        let (short, long) = (ids.as_chunks::<2>().0, ids.as_chunks::<4>().0);
        // Compared once for the row: the loops have no branch.
        let (mut largest_id, mut largest, mut sound, mut at) = (0u32, 0f32, true, 0);
        for (&place, &length) in places.iter().zip(lengths) {
            let (entries, start) = (at..at + length, place * to.k);
            let ids = &mut to.ids[start..start + length];
            let mut put = |id: &mut i32, value: u32| {
                largest_id = largest_id.max(value);
                *id = value as i32;
            };
            match narrow {
                true => {
                    for (id, &value) in ids.iter_mut().zip(&short[entries.clone()]) {
                        put(id, u16::from_le_bytes(value).into());
                    }
                }
                false => {
                    for (id, &value) in ids.iter_mut().zip(&long[entries.clone()]) {
                        put(id, u32::from_le_bytes(value));
                    }
                }
            }
            let of_token = &mut to.probabilities[start..start + length];
            probabilities(entries, of_token);
            for &p in &*of_token {
                largest = largest.max(p);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentHash, Provenance};
    use distily_core::ModelShape;

    /// Two tokens of a vocabulary of 5, with one id and two, and what is changed of them.
    fn read(change: impl FnOnce(&mut Encoded)) -> Result<(), String> {
        let hash = ContentHash::of("test", [b""]);
        let config = RecordingConfig {
            provenance: Provenance {
                teacher: hash,
                tokenizer: hash,
                data: hash,
                temperature: 1.0,
            },
            shape: ModelShape {
                vocabulary: 5,
                ..ModelShape::default()
            },
            codec: Codec::TopK { k: 2, p: 1.0 },
            hidden_layers: vec![],
        };
        let halves = |values: &[f32]| -> Vec<u8> {
            let halves = values.iter().map(|&value| f16::from_f32(value));
            halves.flat_map(f16::to_le_bytes).collect()
        };
        let words = |words: &[u16]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut encoded = Encoded {
            tokens: 2,
            entries: 3,
            data: vec![
                words(&[4, 0, 1]),
                halves(&[-0.1, -1.0, -2.0]),
                halves(&[0.1, 0.5]),
                words(&[1, 2]),
            ],
        };
        change(&mut encoded);
        let lengths = encoded.lengths(&config)?;
        let mut to = SparseRows {
            k: 2,
            ids: &mut [0; 4],
            probabilities: &mut [0.0; 4],
            tail: &mut [0.0; 2],
        };
        encoded.sparse(&config, &lengths, &[0, 1], &mut to)
    }

    #[test]
    fn what_no_recorder_writes_is_refused() {
        read(|_| {}).unwrap();
        // A tensor, the place of an element of two bytes in it, and another value.
        for (tensor, at, value, says) in [
            (0, 1, [5, 0], "id 5 is not in the vocabulary"),
            (1, 0, f16::ONE.to_le_bytes(), "a probability of 2.7"),
            (1, 2, f16::NAN.to_le_bytes(), "no number"),
            (2, 1, f16::NEG_ONE.to_le_bytes(), "a tail of -1"),
            (2, 0, f16::NAN.to_le_bytes(), "a tail of NaN"),
            (3, 0, [2, 0], "4 ids, expected 3"),
        ] {
            let change = |encoded: &mut Encoded| {
                encoded.data[tensor][2 * at..2 * at + 2].copy_from_slice(&value);
            };
            let problem = read(change).unwrap_err();
            assert!(problem.contains(says), "{problem}");
        }
        let problem = read(|encoded| encoded.data[3] = vec![0, 0, 3, 0]).unwrap_err();
        assert_eq!(problem, "3 ids of a token, expected at most 2");
    }
}
