use super::encoder::Encoded;
use super::row_key::Row;
use super::{Codec, RecordingConfig};
use burn::tensor::{FloatDType, Int, Tensor};
use distily_core::{Answer, Distribution, Seed};
use std::ops::Range;

/// Tokens whose logits are computed at a time.
const CHUNK: usize = 64;

impl RecordingConfig {
    /// What a teacher says of the row at a place of a batch, which is the recording's row of a number, in
    /// parts.
    pub(super) fn encode_answer(
        &self,
        answer: &Answer,
        place: usize,
        row: &Row,
        number: u64,
    ) -> Result<Vec<Encoded>, String> {
        let seed = match self.codec {
            Codec::Sampled { seed, .. } => seed,
            _ => Seed(0),
        };
        // Of the row alone: where a recording is interrupted changes nothing.
        let mut generator = seed.generator("recorded draws", number);
        let encode = |places: &[usize]| {
            let hidden = self.hidden_layers.iter().map(|&layer| {
                let hidden = answer.features.hidden(layer);
                let hidden = hidden.ok_or_else(|| format!("layer {layer} was not answered"))?;
                Ok(chosen(tokens_of(hidden, place, places), places))
            });
            let hidden: Vec<Vec<f32>> = hidden.collect::<Result<_, String>>()?;
            let logits = match &answer.distribution {
                Distribution::Logits(logits) => tokens_of(logits, place, places),
                Distribution::Hidden(hidden, head) => head.logits(tokens_of(hidden, place, places)),
                Distribution::Sparse {
                    ids,
                    probabilities,
                    temperature,
                    ..
                } => {
                    if self.provenance.temperature != *temperature {
                        return Err(format!(
                            "the teacher says probabilities at temperature {temperature}, from which no others follow: record at {temperature}"
                        ));
                    }
                    let ids = ids.clone().slice(span(place, places));
                    let likely = likely_of(ids, tokens_of(probabilities, place, places), places);
                    return self.encode_likely(likely, &hidden);
                }
                _ => return Err("the teacher says nothing of ids".to_owned()),
            };
            let vocabulary = logits.dims()[2];
            if vocabulary != self.shape.vocabulary {
                return Err(format!("the teacher answers {vocabulary} logits a token"));
            }
            self.encode(&chosen(logits, places), &hidden, &mut generator)
        };
        let parts = row.places.chunks(CHUNK).map(encode);
        let parts: Vec<Vec<Encoded>> = parts.collect::<Result<_, _>>()?;
        Ok(parts.into_iter().flatten().collect())
    }
}

/// A row from the first of some places to the last.
fn span(row: usize, places: &[usize]) -> [Range<usize>; 2] {
    [row..row + 1, places[0]..places[places.len() - 1] + 1]
}

/// The tokens of a row from the first of some places to the last, `[1, tokens, _]`.
fn tokens_of(x: &Tensor<3>, row: usize, places: &[usize]) -> Tensor<3> {
    x.clone().slice(span(row, places))
}

/// The ids with their probabilities, which fall, at the places of [`tokens_of`].
fn likely_of(
    ids: Tensor<3, Int>,
    probabilities: Tensor<3>,
    places: &[usize],
) -> Vec<Vec<(usize, f64)>> {
    let k = ids.dims()[2];
    if k == 0 {
        return vec![Vec::new(); places.len()];
    }
    let ids: Vec<i64> = ids.into_data().iter().collect();
    let probabilities = chosen(probabilities, places);
    let likely = places.iter().zip(probabilities.chunks(k));
    let of_place = |(place, probabilities): (&usize, &[f32])| {
        let ids = ids[(place - places[0]) * k..][..k].iter();
        let known = ids.zip(probabilities).filter(|(_, p)| **p != 0.0);
        let mut known: Vec<_> = known.map(|(&id, &p)| (id as usize, p.into())).collect();
        known.sort_unstable_by(|a: &(usize, f64), b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        known
    };
    likely.map(of_place).collect()
}

/// The values of [`tokens_of`] at the places themselves.
fn chosen(x: Tensor<3>, places: &[usize]) -> Vec<f32> {
    let width = x.dims()[2];
    let data = x.cast(FloatDType::F32).into_data();
    let values = data.as_slice::<f32>().expect("it was cast");
    let rows = places.iter().map(|place| (place - places[0]) * width);
    rows.flat_map(|start| values[start..start + width].iter().copied())
        .collect()
}
