use super::layout::{Layout, narrow_counts, narrow_ids};
use super::{Codec, RecordingConfig};
use distily_kernels::{drawn_ids, likeliest_ids, probabilities_of};
use half::f16;
use half::slice::HalfFloatSliceExt;
use rand::{Rng, RngExt};
use rayon::prelude::*;

/// The likeliest ids of some tokens, as a server or a file gives them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LikelyIds {
    /// How many ids each token has: none where nothing is known, and the mass of all others is 1.
    pub lengths: Vec<usize>,
    /// The ids, token after token; those of a token differ, and the likeliest comes first.
    pub ids: Vec<u32>,
    /// The natural logarithms of their probabilities at the recording's temperature.
    pub log_probabilities: Vec<f32>,
    /// The mass of all other ids, for each token.
    pub tails: Vec<f32>,
}

/// Some tokens as a shard keeps them.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) tokens: u64,
    pub(super) entries: u64,
    /// The bytes of each data tensor.
    pub(super) data: Vec<Vec<u8>>,
}

impl Encoded {
    pub(super) fn bytes(&self) -> usize {
        self.data.iter().map(Vec::len).sum()
    }

    /// Appends the tokens that follow.
    pub(super) fn append(&mut self, next: Self) {
        self.tokens += next.tokens;
        self.entries += next.entries;
        for (data, next) in self.data.iter_mut().zip(next.data) {
            data.extend(next);
        }
    }
}

/// Tokens are encoded in parts of so much data, by which large rows are cut into shards.
const PART_BYTES: u64 = 1 << 20;

/// A token's chosen ids.
enum Chosen {
    All(Vec<f16>),
    TopK(Vec<(usize, f64)>),
    Sampled(Vec<(usize, usize)>),
}

impl RecordingConfig {
    /// How many tokens a part has at most.
    fn part_tokens(&self) -> usize {
        let most = Layout::most_token_bytes(self).unwrap_or(u64::MAX);
        (PART_BYTES / most.max(1)).max(1) as usize
    }

    /// Encodes the logits of some tokens, `[tokens, vocabulary]`, and their hidden states in each of
    /// the layers that are kept, `[tokens, width]`, in parts.
    pub(super) fn encode(
        &self,
        logits: &[f32],
        hidden: &[Vec<f32>],
        generator: &mut impl Rng,
    ) -> Result<Vec<Encoded>, String> {
        let vocabulary = self.shape.vocabulary;
        let tokens = logits.len() / vocabulary;
        let draws = match self.codec {
            Codec::Sampled { draws, .. } => draws,
            _ => 0,
        };
        // Drawn before the tokens go to the cores, in their order.
        let points: Vec<f64> = (0..tokens * draws).map(|_| generator.random()).collect();
        let chosen: Vec<Chosen> = logits
            .par_chunks_exact(vocabulary)
            .enumerate()
            .map_init(Vec::new, |probabilities, (token, logits)| {
                let points = &points[token * draws..(token + 1) * draws];
                self.choose(logits, points, probabilities)
            })
            .collect::<Option<_>>()
            .ok_or("the teacher's logits are not numbers")?;
        self.encode_all(&chosen, hidden)
    }

    /// Encodes what is predicted at some tokens, ids with their probabilities that fall, in the place
    /// of logits: none at a token of which nothing is known.
    pub(super) fn encode_likely(
        &self,
        likely: impl IntoIterator<Item = Vec<(usize, f64)>>,
        hidden: &[Vec<f32>],
    ) -> Result<Vec<Encoded>, String> {
        let Codec::TopK { k, p } = self.codec else {
            return Err("likely ids are given, but the codec is not `top_k`".to_owned());
        };
        let vocabulary = self.shape.vocabulary;
        let keep = |mut likely: Vec<(usize, f64)>| {
            if let Some((id, _)) = likely.iter().find(|(id, _)| *id >= vocabulary) {
                return Err(format!("id {id} is not in the vocabulary of {vocabulary}"));
            }
            // What is read of a teacher is rounded.
            let allowed = 0.0..=1.001;
            if let Some((id, p)) = likely.iter().find(|(_, p)| !allowed.contains(p)) {
                return Err(format!("the probability of id {id} is {p:.3}"));
            }
            let mass: f64 = likely.iter().map(|(_, p)| p).sum();
            if !allowed.contains(&mass) {
                return Err(format!(
                    "the probabilities of a token's ids add up to {mass:.3}, expected at most 1"
                ));
            }
            let mut ids: Vec<usize> = likely.iter().map(|(id, _)| *id).collect();
            ids.sort_unstable();
            if let Some(two) = ids.windows(2).find(|two| two[0] == two[1]) {
                return Err(format!("a token has id {} twice", two[0]));
            }
            keep_likeliest(&mut likely, k, p);
            Ok(Chosen::TopK(likely))
        };
        let chosen: Vec<Chosen> = likely.into_iter().map(keep).collect::<Result<_, _>>()?;
        self.encode_all(&chosen, hidden)
    }

    fn encode_all(&self, chosen: &[Chosen], hidden: &[Vec<f32>]) -> Result<Vec<Encoded>, String> {
        let (most, width) = (self.part_tokens(), self.shape.width);
        let parts = (0..).step_by(most).zip(chosen.chunks(most));
        let encode = |(first, chosen): (usize, &[Chosen])| {
            let range = first * width..(first + chosen.len()) * width;
            self.encode_part(chosen, hidden.iter().map(|states| &states[range.clone()]))
        };
        parts.map(encode).collect()
    }

    fn encode_part<'a>(
        &self,
        chosen: &[Chosen],
        hidden: impl Iterator<Item = &'a [f32]>,
    ) -> Result<Encoded, String> {
        let mut encoded = self.encode_chosen(chosen);
        let hidden = hidden.map(|states| {
            let states = to_f16(states);
            let fits = states.iter().all(|x| x.is_finite());
            fits.then(|| f16_bytes(&states))
        });
        let hidden = hidden
            .collect::<Option<Vec<_>>>()
            .ok_or("a hidden state is beyond what f16 holds, 65504: leave its layer out")?;
        let counts = match self.codec {
            Codec::Sampled { .. } => encoded.data.pop(),
            _ => None,
        };
        encoded.data.extend(hidden.into_iter().chain(counts));
        Ok(encoded)
    }

    /// What is kept of a token; `None` if its logits make no distribution.
    fn choose(&self, logits: &[f32], points: &[f64], p: &mut Vec<f64>) -> Option<Chosen> {
        if let Codec::Full = self.codec {
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = logits.iter().map(|&x| f64::from(x - highest).exp()).sum();
            let total = f64::from(highest) + sum.ln();
            let of = |&logit: &f32| f16::from_f64(f64::from(logit) - total);
            return total
                .is_finite()
                .then(|| Chosen::All(logits.iter().map(of).collect()));
        }
        probabilities_of(logits, self.provenance.temperature, p);
        if p[0].is_nan() {
            return None;
        }
        Some(match self.codec {
            Codec::Sampled { .. } => Chosen::Sampled(drawn_ids(p, points.to_vec())),
            Codec::TopK { k, p: mass } => {
                let mut likely = likeliest_ids(p, k);
                likely.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                keep_likeliest(&mut likely, k, mass);
                Chosen::TopK(likely)
            }
            Codec::Full => unreachable!("it returned above"),
        })
    }

    fn encode_chosen(&self, chosen: &[Chosen]) -> Encoded {
        let (mut known, mut counts, mut all) = (LikelyIds::default(), Vec::new(), Vec::new());
        for chosen in chosen {
            match chosen {
                Chosen::All(logs) => all.extend_from_slice(logs),
                Chosen::TopK(likely) => {
                    let mass: f64 = likely.iter().map(|(_, p)| p).sum();
                    known.lengths.push(likely.len());
                    known.ids.extend(likely.iter().map(|&(id, _)| id as u32));
                    let logs = likely.iter().map(|(_, p)| p.ln() as f32);
                    known.log_probabilities.extend(logs);
                    known.tails.push((1.0 - mass).max(0.0) as f32);
                }
                Chosen::Sampled(drawn) => {
                    known.lengths.push(drawn.len());
                    known.ids.extend(drawn.iter().map(|&(id, _)| id as u32));
                    counts.extend(drawn.iter().map(|&(_, count)| count as u16));
                }
            }
        }
        let data = match self.codec {
            Codec::Full => vec![f16_bytes(&all)],
            Codec::TopK { .. } => self.top_k_data(
                &known.ids,
                &known.log_probabilities,
                &known.tails,
                &known.lengths,
            ),
            Codec::Sampled { draws, .. } => vec![
                self.id_bytes(&known.ids),
                length_bytes(&known.lengths),
                match narrow_counts(draws) {
                    true => counts.iter().map(|&count| count as u8).collect(),
                    false => le_bytes(counts.iter().map(|count| count.to_le_bytes())),
                },
            ],
        };
        Encoded {
            tokens: chosen.len() as u64,
            entries: known.ids.len() as u64,
            data,
        }
    }

    /// Encodes likely ids that are given: those of the tokens from `tokens.start` on, whose ids begin at
    /// `entries.start`.
    pub(super) fn encode_known(
        &self,
        known: &LikelyIds,
        tokens: std::ops::Range<usize>,
        entries: std::ops::Range<usize>,
    ) -> Result<Vec<Encoded>, String> {
        let (ids, logs) = (
            &known.ids[entries.clone()],
            &known.log_probabilities[entries],
        );
        let (lengths, tails) = (&known.lengths[tokens.clone()], &known.tails[tokens]);
        self.check_known(lengths, ids, tails)?;
        check_masses(lengths, logs, tails)?;
        let most = self.part_tokens();
        let mut end = 0;
        let parts = lengths.chunks(most).zip(tails.chunks(most));
        let parts = parts.map(|(lengths, tails)| {
            let start = end;
            end += lengths.iter().sum::<usize>();
            let (ids, logs) = (&ids[start..end], &logs[start..end]);
            Encoded {
                tokens: lengths.len() as u64,
                entries: ids.len() as u64,
                data: self.top_k_data(ids, logs, tails, lengths),
            }
        });
        Ok(parts.collect())
    }

    /// Whether the ids are in the vocabulary, none twice, and not too many.
    fn check_known(&self, lengths: &[usize], ids: &[u32], tails: &[f32]) -> Result<(), String> {
        let Codec::TopK { k, .. } = self.codec else {
            return Err("likely ids are given, but the codec is not `top_k`".to_owned());
        };
        let vocabulary = self.shape.vocabulary;
        // A bit for each id, set for those of one token: few bytes, which stay in the nearest cache.
        let mut seen = vec![0u64; vocabulary.div_ceil(64)];
        let mut rest = ids;
        for (&length, &tail) in lengths.iter().zip(tails) {
            if length > k || length == 0 && tail != 1.0 {
                return Err(format!(
                    "a token has {length} ids, expected 1 to {k}, or none and a tail of 1"
                ));
            }
            let (of_token, others) = rest.split_at(length);
            rest = others;
            for &id in of_token {
                if id as usize >= vocabulary {
                    return Err(format!("id {id} is not in the vocabulary of {vocabulary}"));
                }
                let (word, bit) = (&mut seen[id as usize / 64], 1 << (id % 64));
                if *word & bit != 0 {
                    return Err(format!("a token has id {id} twice"));
                }
                *word |= bit;
            }
            for &id in of_token {
                seen[id as usize / 64] = 0;
            }
        }
        Ok(())
    }

    fn top_k_data(
        &self,
        ids: &[u32],
        logs: &[f32],
        tails: &[f32],
        lengths: &[usize],
    ) -> Vec<Vec<u8>> {
        vec![
            self.id_bytes(ids),
            f16_bytes(&to_f16(logs)),
            f16_bytes(&to_f16(tails)),
            length_bytes(lengths),
        ]
    }

    fn id_bytes(&self, ids: &[u32]) -> Vec<u8> {
        match narrow_ids(self.shape.vocabulary) {
            true => le_bytes(ids.iter().map(|&id| (id as u16).to_le_bytes())),
            false => le_bytes(ids.iter().map(|id| id.to_le_bytes())),
        }
    }
}

/// Leaves at most `k` of some ids, whose probabilities fall, and no more than it takes to hold the mass.
fn keep_likeliest(likely: &mut Vec<(usize, f64)>, k: usize, mass: f64) {
    likely.truncate(k);
    if mass < 1.0 {
        let mut held = 0.0;
        let before = likely.iter().take_while(|(_, p)| {
            let enough = held >= mass;
            held += p;
            !enough
        });
        let kept = before.count();
        likely.truncate(kept);
    }
}

fn length_bytes(lengths: &[usize]) -> Vec<u8> {
    le_bytes(lengths.iter().map(|&length| (length as u16).to_le_bytes()))
}

fn to_f16(values: &[f32]) -> Vec<f16> {
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(values);
    halves
}

fn f16_bytes(values: &[f16]) -> Vec<u8> {
    le_bytes(values.iter().map(|value| value.to_le_bytes()))
}

pub(super) fn le_bytes<const N: usize>(values: impl ExactSizeIterator<Item = [u8; N]>) -> Vec<u8> {
    let mut bytes = vec![0; values.len() * N];
    for (to, from) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
        *to = from;
    }
    bytes
}

/// How far the masses of a token may be from 1 together: what is given is rounded.
const ROUNDED: f32 = 0.01;

/// Whether the ids of each token and all others have a mass of 1 together.
fn check_masses(lengths: &[usize], logs: &[f32], tails: &[f32]) -> Result<(), String> {
    let mut rest = logs;
    for (token, (&length, &tail)) in lengths.iter().zip(tails).enumerate() {
        let (of_token, others) = rest.split_at(length);
        rest = others;
        // A server's rounding may say a little more than 1.
        if !of_token.iter().all(|&log| log <= 1e-3) {
            return Err("a log-probability is above 0, or no number".to_owned());
        }
        if !of_token.is_sorted_by(|before, after| before >= after) {
            return Err(format!(
                "the log-probabilities of token {token} rise: give the likeliest id first"
            ));
        }
        if !(0.0..=1.0).contains(&tail) {
            return Err("the mass of the other ids is not between 0 and 1".to_owned());
        }
        let mass = of_token.iter().map(|log| log.exp()).sum::<f32>() + tail;
        if (mass - 1.0).abs() > ROUNDED {
            return Err(format!(
                "the probabilities of token {token} and its tail add up to {mass:.3}, expected 1"
            ));
        }
    }
    Ok(())
}
