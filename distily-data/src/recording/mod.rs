mod answered;
mod codec;
mod decode;
mod encoder;
mod error;
mod layout;
mod manifest;
mod provenance;
mod recorder;
mod row_key;
mod shard;
mod stored;

use crate::TokenRows;
use burn::tensor::{Device, Int, Tensor, TensorData};
use decode::SparseRows;
use distily_core::{
    Answer, Distribution, Feature, Features, ForwardError, LayerFeatures, ModelShape, Taps,
    Teacher, TokenBatch,
};
use encoder::Encoded;
use manifest::Manifest;
use rayon::prelude::*;
pub(crate) use row_key::{Row, rows_of};
use std::path::PathBuf;
use std::sync::Arc;
use stored::{Place, Stored};

pub use codec::Codec;
pub use encoder::LikelyIds;
pub use error::RecordingError;
pub use provenance::{Provenance, RecordingConfig};
pub use recorder::Recorder;

/// Rows that are looked up at a time.
const AT_ONCE: usize = 64;

/// A teacher that was recorded by a [`Recorder`]: it answers every batch that is made of recorded
/// rows, in whatever order and however padded, and refuses any other. The files are as
/// `RECORDING.md` says.
///
/// A row is known by the hash of its tokens' ids, positions and segments. Opening reads where rows
/// are; a row is compared with its hash whenever it is read.
#[derive(Debug, Clone)]
pub struct Recording {
    stored: Arc<Stored>,
    device: Device,
}

impl Recording {
    /// Opens a recording of what is expected, to answer on a device.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Mismatch`] where it is of something else; [`RecordingError::Damaged`],
    /// [`RecordingError::Io`].
    pub fn open(
        folder: impl Into<PathBuf>,
        expected: &Provenance,
        device: &Device,
    ) -> Result<Self, RecordingError> {
        let folder = folder.into();
        let manifest = Manifest::existing(&folder)?;
        manifest.recording.provenance.check(expected, &folder)?;
        Ok(Self {
            stored: Arc::new(Stored::open(&folder, &manifest)?),
            device: device.clone().without_autodiff(),
        })
    }

    /// What is recorded, and how.
    pub fn config(&self) -> &RecordingConfig {
        &self.stored.config
    }

    /// How many different rows are recorded.
    pub fn rows(&self) -> usize {
        self.stored.len()
    }

    /// How many of these rows are not recorded: training fails at the first of them.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Data`] where the rows can't be read.
    pub fn missing(&self, rows: &TokenRows) -> Result<usize, RecordingError> {
        let mut missing = 0;
        for batch in rows.in_order(AT_ONCE) {
            let unknown = |row: &&Row| self.stored.place(row.key.as_bytes()).is_none();
            missing += rows_of(&batch?).iter().filter(unknown).count();
        }
        Ok(missing)
    }

    /// Compares all bytes with their hashes.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Damaged`] with the file and the place, [`RecordingError::Io`].
    pub fn verify(&self) -> Result<(), RecordingError> {
        self.stored.check()
    }
}

impl Teacher for Recording {
    fn shape(&self) -> ModelShape {
        self.stored.config.shape.clone()
    }

    /// [`Distribution::Logits`] of the full codec (log-probabilities), else
    /// [`Distribution::Sparse`], also where logits are tapped.
    fn answer(&self, batch: &TokenBatch, taps: &Taps) -> Result<Answer, ForwardError> {
        self.stored.config.shape.check(batch, taps)?;
        self.stored.check_taps(taps)?;
        let unanswered = |problem: RecordingError| ForwardError::Unanswered(problem.to_string());
        let read = self.stored.read(rows_of(batch))?;
        let read = Read {
            stored: &self.stored,
            rows: read,
            shape: batch.shape(),
            device: &self.device,
        };
        Ok(Answer {
            distribution: match taps.wants_output() {
                true => read.distribution().map_err(unanswered)?,
                false => Distribution::NotAsked,
            },
            features: read.features(taps).map_err(unanswered)?,
        })
    }

    fn on(&self, device: &Device) -> Arc<dyn Teacher> {
        Arc::new(Self {
            stored: self.stored.clone(),
            device: device.clone().without_autodiff(),
        })
    }
}

impl Stored {
    /// Whether all that is tapped was recorded.
    fn check_taps(&self, taps: &Taps) -> Result<(), ForwardError> {
        let kept = &self.config.hidden_layers;
        let layers = taps.last_layer().map_or(0, |last| last + 1);
        let of_heads = [
            Feature::Query,
            Feature::Key,
            Feature::Value,
            Feature::Attention,
        ];
        let folder = self.folder.display();
        let of_heads = |&layer: &usize| of_heads.iter().any(|&feature| taps.wants(layer, feature));
        let never = match (0..layers).find(of_heads) {
            Some(layer) => format!("the queries, keys, values or attention of layer {layer}"),
            None if taps.wants_embedding() => "the embedding output".to_owned(),
            None => {
                let mut tapped = (0..layers).filter(|&layer| taps.wants_any(layer));
                return match tapped.find(|layer| !kept.contains(layer)) {
                    None => Ok(()),
                    Some(layer) => Err(ForwardError::Unanswered(format!(
                        "{folder}: the hidden states of layer {layer} were not recorded, only those of {kept:?}: record anew with what the objective needs"
                    ))),
                };
            }
        };
        Err(ForwardError::Unanswered(format!(
            "{folder}: no recording has {never}, which the objective wants: take the term out of the objective, or learn from the model itself"
        )))
    }

    /// The rows of a batch as they were encoded; `None` for one that is padding alone.
    fn read(&self, rows: Vec<Row>) -> Result<Vec<Option<ReadRow>>, ForwardError> {
        let rows = rows.into_par_iter().enumerate().map(|(at, row)| {
            if row.places.is_empty() {
                return Ok(None);
            }
            let place = self.place(row.key.as_bytes()).ok_or_else(|| {
                ForwardError::Unanswered(format!(
                    "{}: row {at} of the batch is none of the {} recorded rows: the batches have to be of the rows that were recorded, and the recording complete",
                    self.folder.display(),
                    self.len()
                ))
            })?;
            let damaged = |problem| self.damaged(place, problem);
            let row = self.row(place).and_then(|encoded| {
                if encoded.tokens != row.places.len() as u64 {
                    return Err(damaged(format!("{} tokens", encoded.tokens)));
                }
                let lengths = encoded.lengths(&self.config).map_err(damaged)?;
                Ok(ReadRow { place, places: row.places, lengths, encoded })
            });
            row.map(Some).map_err(|problem| ForwardError::Unanswered(problem.to_string()))
        });
        rows.collect()
    }
}

/// A row of a batch, and what was recorded of it.
struct ReadRow {
    place: Place,
    /// Where its tokens stand.
    places: Vec<usize>,
    /// How many ids each has; none in the full codec.
    lengths: Vec<usize>,
    encoded: Encoded,
}

/// What was recorded of a batch.
struct Read<'a> {
    stored: &'a Stored,
    rows: Vec<Option<ReadRow>>,
    shape: [usize; 2],
    device: &'a Device,
}

impl Read<'_> {
    fn distribution(&self) -> Result<Distribution, RecordingError> {
        let config = &self.stored.config;
        let [rows, length] = self.shape;
        if let Codec::Full = config.codec {
            let fill = |row: &ReadRow, to: &mut [f32]| row.encoded.full(config, &row.places, to);
            return Ok(Distribution::Logits(
                self.dense(config.shape.vocabulary, fill)?,
            ));
        }
        let lengths = self.rows.iter().flatten().flat_map(|row| &row.lengths);
        let k = lengths.copied().max().unwrap_or(0).max(1);
        let mut ids = vec![0; rows * length * k];
        let mut probabilities = vec![0.0; rows * length * k];
        let mut tail = vec![0.0; rows * length];
        ids.par_chunks_exact_mut(length * k)
            .zip(probabilities.par_chunks_exact_mut(length * k))
            .zip(tail.par_chunks_exact_mut(length))
            .zip(&self.rows)
            .try_for_each(|(((ids, probabilities), tail), row)| {
                let Some(row) = row else { return Ok(()) };
                let mut to = SparseRows {
                    k,
                    ids,
                    probabilities,
                    tail,
                };
                row.encoded
                    .sparse(config, &row.lengths, &row.places, &mut to)
                    .map_err(|problem| self.stored.damaged(row.place, problem))
            })?;
        let ids = TensorData::new(ids, [rows, length, k]);
        let probabilities = TensorData::new(probabilities, [rows, length, k]);
        Ok(Distribution::Sparse {
            ids: Tensor::<3, Int>::from_data(ids, self.device),
            probabilities: Tensor::from_data(probabilities, self.device),
            tail: Tensor::from_data(TensorData::new(tail, [rows, length]), self.device),
            temperature: config.provenance.temperature,
        })
    }

    fn features(&self, taps: &Taps) -> Result<Features, RecordingError> {
        let config = &self.stored.config;
        let mut features = Features::default();
        for (nth, &layer) in config.hidden_layers.iter().enumerate() {
            if taps.wants(layer, Feature::Hidden) {
                let hidden = self.dense(config.shape.width, |row, to| {
                    row.encoded.hidden(config, nth, &row.places, to)
                })?;
                let hidden = Some(hidden);
                let layer_features = LayerFeatures {
                    hidden,
                    ..LayerFeatures::default()
                };
                features.layers.insert(layer, layer_features);
            }
        }
        Ok(features)
    }

    /// `[rows, length, width]`, 0 at padding.
    fn dense(
        &self,
        width: usize,
        fill: impl Fn(&ReadRow, &mut [f32]) -> Result<(), String> + Sync,
    ) -> Result<Tensor<3>, RecordingError> {
        let [rows, length] = self.shape;
        let mut values = vec![0.0; rows * length * width];
        values
            .par_chunks_exact_mut((length * width).max(1))
            .zip(&self.rows)
            .try_for_each(|(to, row)| match row {
                None => Ok(()),
                Some(row) => {
                    fill(row, to).map_err(|problem| self.stored.damaged(row.place, problem))
                }
            })?;
        let values = TensorData::new(values, [rows, length, width]);
        Ok(Tensor::from_data(values, self.device))
    }
}
