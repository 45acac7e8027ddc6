use distily::core::{Distribution, ForwardError, Taps, Teacher, TokenBatch};
use distily::kernels::{likeliest_ids, probabilities_of};
use std::error::Error;

/// Less than the f16 of a tail can tell from nothing.
const NOTHING: f64 = 1e-6;

/// How a teacher's distributions come back from a codec, as means over predictions.
#[derive(Debug, Default)]
pub struct Fidelity {
    predictions: f64,
    /// Ids that are known of a token.
    pub ids: f64,
    /// The forward KL that a student has which is the teacher itself: of what comes back to the
    /// teacher, with the ids of a tail as one event.
    pub own_loss: f64,
    /// The mass of the teacher's ids that come back with none.
    pub lost: f64,
    /// The KL of the teacher to what comes back, a tail shared out evenly; infinite where mass is lost.
    pub kl: f64,
}

impl Fidelity {
    /// Compares what a codec gives back with what the teacher says.
    pub fn of(
        teacher: &dyn Teacher,
        given_back: &dyn Teacher,
        batches: &[TokenBatch],
    ) -> Result<Self, Box<dyn Error>> {
        let mut sum = Self::default();
        for batch in batches {
            let truth = distributions(teacher, batch)?;
            let known = Known::of(given_back, batch)?;
            for (at, p) in truth {
                sum.add(&p, &known.token(at));
            }
        }
        let n = sum.predictions;
        for mean in [&mut sum.ids, &mut sum.own_loss, &mut sum.lost, &mut sum.kl] {
            *mean /= n;
        }
        Ok(sum)
    }

    fn add(&mut self, p: &[f64], (known, tail): &(Vec<(usize, f64)>, f64)) {
        let held: f64 = known.iter().map(|&(id, _)| p[id]).sum();
        let rest = (1.0 - held).max(0.0);
        let others = (p.len() - known.len()) as f64;
        self.predictions += 1.0;
        self.ids += known.len() as f64;
        self.own_loss += known.iter().map(|&(id, q)| kl(q, p[id])).sum::<f64>() + kl(*tail, rest);
        self.kl += known.iter().map(|&(id, q)| kl(p[id], q)).sum::<f64>();
        if *tail > 0.0 {
            let mut unknown = vec![true; p.len()];
            known.iter().for_each(|&(id, _)| unknown[id] = false);
            let of_tail = p.iter().zip(unknown).filter(|(_, unknown)| *unknown);
            self.kl += of_tail.map(|(&p, _)| kl(p, tail / others)).sum::<f64>();
        } else if rest > NOTHING {
            self.lost += rest;
            self.kl = f64::INFINITY;
        }
    }
}

/// An event's part of a KL.
fn kl(p: f64, q: f64) -> f64 {
    if p > 0.0 { p * (p / q).ln() } else { 0.0 }
}

/// The mass of the teacher's `k` likeliest ids, as the mean over predictions.
pub fn top_mass(
    teacher: &dyn Teacher,
    batches: &[TokenBatch],
    k: usize,
) -> Result<f64, Box<dyn Error>> {
    let (mut mass, mut predictions) = (0.0, 0.0);
    for batch in batches {
        for (_, p) in distributions(teacher, batch)? {
            mass += likeliest_ids(&p, k).iter().map(|(_, p)| p).sum::<f64>();
            predictions += 1.0;
        }
    }
    Ok(mass / predictions)
}

/// The teacher's probabilities at each scored prediction of a batch, with its place.
fn distributions(
    teacher: &dyn Teacher,
    batch: &TokenBatch,
) -> Result<impl Iterator<Item = (usize, Vec<f64>)>, ForwardError> {
    let known = Known::of(teacher, batch)?;
    let scored = batch.prediction_mask().into_iter().enumerate();
    let scored = scored.filter_map(|(at, scored)| scored.then_some(at));
    Ok(scored.map(move |at| {
        let p = known.token(at).0;
        (at, p.into_iter().map(|(_, p)| p).collect())
    }))
}

/// A teacher's answer on the host.
enum Known {
    All {
        logits: Vec<f32>,
        vocabulary: usize,
    },
    Some {
        ids: Vec<i64>,
        probabilities: Vec<f64>,
        tail: Vec<f64>,
    },
}

impl Known {
    fn of(teacher: &dyn Teacher, batch: &TokenBatch) -> Result<Self, ForwardError> {
        Ok(match teacher.answer(batch, &Taps::logits())?.distribution {
            Distribution::Logits(logits) => Self::All {
                vocabulary: logits.dims()[2],
                logits: logits.into_data().iter().collect(),
            },
            Distribution::Sparse {
                ids,
                probabilities,
                tail,
                ..
            } => Self::Some {
                ids: ids.into_data().iter().collect(),
                probabilities: probabilities.into_data().iter().collect(),
                tail: tail.into_data().iter().collect(),
            },
            other => unreachable!("logits were tapped, not {other:?}"),
        })
    }

    /// The ids that are known at a place with their probabilities, and the mass of the others.
    fn token(&self, at: usize) -> (Vec<(usize, f64)>, f64) {
        match self {
            Self::All { logits, vocabulary } => {
                let mut p = Vec::new();
                let logits = &logits[at * vocabulary..(at + 1) * vocabulary];
                probabilities_of(logits, 1.0, &mut p);
                (p.into_iter().enumerate().collect(), 0.0)
            }
            Self::Some {
                ids,
                probabilities,
                tail,
            } => {
                let k = ids.len() / tail.len();
                let of_token = at * k..(at + 1) * k;
                let known = ids[of_token.clone()].iter().zip(&probabilities[of_token]);
                let known = known.filter(|(_, p)| **p > 0.0);
                (known.map(|(&id, &p)| (id as usize, p)).collect(), tail[at])
            }
        }
    }
}
