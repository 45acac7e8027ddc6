use crate::ContentHash;
use std::ops::Range;

/// What a teacher predicts at a token: its likeliest ids with their probabilities, the likeliest
/// first; none where it said nothing.
pub(crate) type Prediction = Vec<(usize, f64)>;

/// A sequence of tokens, and what a teacher said of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taught {
    pub(crate) ids: Vec<u32>,
    /// What is predicted at each token: of the one after it.
    pub(crate) predictions: Vec<Prediction>,
    /// Whether each token counts as a target.
    counts: Vec<bool>,
}

impl Taught {
    /// A sequence and the predictions from a token on, to which a last one may be missing: the
    /// token that it is of is not there. Targets are the tokens that are predicted.
    pub(crate) fn new(
        ids: Vec<u32>,
        first: usize,
        predictions: Vec<Prediction>,
    ) -> Result<Self, String> {
        let (tokens, given) = (ids.len(), predictions.len());
        if tokens == 0 {
            return Err("a sequence without tokens: leave it out".to_owned());
        }
        let mut all = vec![Prediction::new(); first];
        all.extend(predictions);
        if all.len() > tokens {
            return Err(format!(
                "what is said of {given} tokens from token {first} on, in a sequence of {tokens}"
            ));
        }
        all.resize(tokens, Prediction::new());
        let before = std::iter::once(true).chain(all.iter().map(|known| !known.is_empty()));
        Ok(Self {
            counts: before.take(tokens).collect(),
            ids,
            predictions: all,
        })
    }

    /// Takes out the targets that something else says do not count.
    pub(crate) fn masked(mut self, counts: impl Iterator<Item = bool>) -> Self {
        for (of_token, counts) in self.counts.iter_mut().zip(counts) {
            *of_token &= counts;
        }
        self
    }

    /// The tokens that do not count.
    pub(crate) fn ignored(&self) -> Vec<Range<usize>> {
        let mut at = 0;
        let runs = self.counts.chunk_by(|a, b| a == b).map(|run| {
            let range = at..at + run.len();
            at = range.end;
            (run[0], range)
        });
        let ignored = runs.filter(|(counts, _)| !counts);
        ignored.map(|(_, range)| range).collect()
    }

    /// The hash of the tokens, and which of them count.
    pub(crate) fn hash(&self) -> ContentHash {
        let ids = self.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let counts: Vec<u8> = self.counts.iter().map(|&counts| counts.into()).collect();
        ContentHash::of("imported sequence", [ids, counts])
    }
}

/// A prediction from ids with the logarithms of their probabilities; what has none, or next to
/// none, is how tools fill up, and left out. The error says what is wrong with one.
pub(crate) fn prediction(
    entries: impl IntoIterator<Item = (u32, Option<f32>)>,
) -> Result<Prediction, String> {
    let mut known = Prediction::new();
    for (id, log) in entries {
        let log = log.unwrap_or(f32::NEG_INFINITY);
        // A server's rounding may say a little more than 0.
        if log.is_nan() || log > 1e-3 {
            return Err(format!(
                "id {id} has the log-probability {log}, expected at most 0: take the natural logarithm of a probability, and normalise logits"
            ));
        }
        let p = f64::from(log).exp();
        if p > 0.0 {
            known.push((id as usize, p));
        }
    }
    known.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mass: f64 = known.iter().map(|(_, p)| p).sum();
    if mass > 1.01 {
        return Err(format!(
            "the probabilities of {} ids sum to {mass:.3}, expected at most 1: are they logits?",
            known.len()
        ));
    }
    if mass > 1.0 {
        // Rounded.
        known.iter_mut().for_each(|(_, p)| *p /= mass);
    }
    let mut ids: Vec<usize> = known.iter().map(|&(id, _)| id).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|two| two[0] == two[1]) {
        Some(two) => Err(format!("id {} comes twice for one token", two[0])),
        None => Ok(known),
    }
}

/// [`prediction`]s from lists of ids and of logarithms, of as many tokens each.
pub(super) fn predictions(
    ids: &[Vec<u32>],
    logs: &[Vec<Option<f32>>],
) -> Result<Vec<Prediction>, String> {
    if ids.len() != logs.len() {
        return Err(format!(
            "{} tokens have ids, but {} have log-probabilities",
            ids.len(),
            logs.len()
        ));
    }
    let both = ids.iter().zip(logs).enumerate();
    both.map(|(at, (ids, logs))| {
        if ids.len() != logs.len() {
            let (ids, logs) = (ids.len(), logs.len());
            return Err(format!(
                "place {at} has {ids} ids, but {logs} log-probabilities"
            ));
        }
        prediction(ids.iter().copied().zip(logs.iter().copied()))
            .map_err(|problem| format!("place {at}: {problem}"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_is_sorted_and_without_what_fills_up() {
        let log = |p: f32| Some(p.ln());
        let filled = [
            (3, log(0.25)),
            (0, Some(-9999.0)),
            (5, log(0.5)),
            (0, Some(-1e9)),
            (0, None),
            (1, Some(f32::NEG_INFINITY)),
        ];
        let known = prediction(filled).unwrap();
        assert_eq!(known.iter().map(|k| k.0).collect::<Vec<_>>(), [5, 3]);
        assert!((known[0].1 - 0.5).abs() < 1e-6);
        let rounded = prediction([(1, log(0.7)), (2, log(0.308))]).unwrap();
        assert!((rounded.iter().map(|k| k.1).sum::<f64>() - 1.0).abs() < 1e-9);
        for (wrong, says) in [
            (vec![(1, Some(0.5))], "at most 0"),
            (vec![(1, Some(f32::NAN))], "at most 0"),
            (vec![(1, Some(-0.1)), (2, Some(-0.1))], "sum to 1.8"),
            (vec![(1, Some(-2.0)), (1, Some(-3.0))], "twice"),
        ] {
            let problem = prediction(wrong).unwrap_err();
            assert!(problem.contains(says), "{problem}");
        }
    }

    #[test]
    fn what_is_predicted_counts() {
        let known = || vec![(1, 0.5)];
        let taught = Taught::new(vec![4, 5, 6, 7], 1, vec![known(), vec![], known()]).unwrap();
        assert_eq!(taught.ignored(), [1..2, 3..4]);
        assert_eq!(taught.predictions[3], known());
        let masked = taught.masked([false, true, true, true].into_iter());
        assert_eq!(masked.ignored(), [0..2, 3..4]);
        assert!(Taught::new(vec![4], 1, vec![known()]).is_err());
        assert!(Taught::new(vec![], 0, vec![]).is_err());
    }
}
