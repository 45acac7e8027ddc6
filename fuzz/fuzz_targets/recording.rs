#![no_main]
//! Recordings: the content of the manifest, a byte of 0, and a shard, which stands for each that the
//! manifest names. Hashes are made to fit, so that what they guard is read.

use burn::tensor::{Device, Tensor, TensorData};
use distily_core::{
    Answer, Distribution, Feature, Features, ForwardError, LayerFeatures, ModelShape, Seed, Taps,
    Teacher, TokenBatch,
};
use distily_data::{
    Codec, ContentHash, Packing, Provenance, Recorder, Recording, RecordingConfig, RecordingError,
    TokenRows, Tokens,
};
use distily_fuzz::{begin_with, content, folder, halves, replaced, sealed};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::fs;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

const INDEX: &str = "HASH-OF-INDEX";

/// Logits and hidden states that are the same everywhere.
#[derive(Debug, Clone)]
struct Constant(usize);

impl Teacher for Constant {
    fn shape(&self) -> ModelShape {
        ModelShape {
            vocabulary: self.0,
            width: 2,
            layers: 2,
            ..ModelShape::default()
        }
    }
    fn answer(&self, batch: &TokenBatch, _: &Taps) -> Result<Answer, ForwardError> {
        let [rows, length] = batch.shape();
        let of = |width: usize| {
            let values = (0..rows * length * width)
                .map(|at| (at % width) as f32)
                .collect();
            Tensor::from_data(
                TensorData::new(values, [rows, length, width]),
                &Device::flex(),
            )
        };
        let mut features = Features::default();
        features.layers.insert(
            1,
            LayerFeatures {
                hidden: Some(of(2)),
                ..LayerFeatures::default()
            },
        );
        Ok(Answer {
            distribution: Distribution::Logits(of(self.0)),
            features,
        })
    }
    fn on(&self, _: &Device) -> Arc<dyn Teacher> {
        Arc::new(self.clone())
    }
}

/// The rows that every recording here is of.
fn rows() -> TokenRows {
    let documents = [vec![1, 2, 3, 1, 2], vec![3, 4], vec![2, 1, 0]];
    let tokens = Tokens::new(&documents).expect("few tokens");
    TokenRows::pack(tokens, Packing::BestFit, 6).expect("some rows")
}

static BATCH: LazyLock<TokenBatch> = LazyLock::new(|| {
    rows()
        .in_order(9)
        .next()
        .expect("a batch")
        .expect("in memory")
});

fn input(vocabulary: usize, codec: Codec) -> Vec<u8> {
    let hash = ContentHash::of("fuzz", ["provenance"]);
    let config = RecordingConfig {
        provenance: Provenance {
            teacher: hash,
            tokenizer: hash,
            data: rows().key(),
            temperature: 1.0,
        },
        shape: Constant(vocabulary).shape(),
        codec,
        hidden_layers: vec![1],
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut recorder = Recorder::open(folder.path(), config).expect("a recorder");
    recorder
        .record(&Constant(vocabulary), &rows(), 2)
        .expect("a recording");
    let text = content(&folder.path().join("manifest.json"));
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    let hash = manifest["shards"][0]["blake3"].as_str().expect("a hash");
    let words = [(hash, INDEX.to_owned())];
    let shard = fs::read(folder.path().join("shard-00000.safetensors")).expect("a shard");
    [replaced(text.as_bytes(), &words), vec![0], shard].concat()
}

fn inputs() -> Vec<Vec<u8>> {
    let top = |k, p| Codec::TopK { k, p };
    let sampled = |draws| Codec::Sampled {
        draws,
        seed: Seed(1),
    };
    vec![
        input(5, Codec::Full),
        input(5, top(3, 1.0)),
        input(70_000, top(2, 0.5)),
        input(5, sampled(4)),
        input(70_000, sampled(300)),
    ]
}

fn read(manifest: &Value) -> Result<(), RecordingError> {
    let recording = &manifest["recording"];
    let Ok(expected) = serde_json::from_value(recording["provenance"].clone()) else {
        return Ok(());
    };
    let opened = Recording::open(folder(), &expected, &Device::flex())?;
    opened.verify()?;
    let hidden = opened
        .config()
        .hidden_layers
        .iter()
        .filter(|layer| **layer < 9);
    let taps = hidden.fold(Taps::logits(), |taps, &layer| {
        taps.with(layer, Feature::Hidden)
    });
    std::hint::black_box(opened.answer(&BATCH, &taps)?);
    let config = opened.config().clone();
    std::hint::black_box(Recorder::open(folder(), config)?.rows());
    Ok(())
}

/// Makes the hashes of a shard's rows fit, as far as its header says where they are; and where the data
/// begins.
fn hash_rows(shard: &mut [u8]) -> Option<usize> {
    let length = u64::from_le_bytes(*shard.first_chunk()?);
    let start = usize::try_from(length).ok()?.checked_add(8)?;
    let header: Value = serde_json::from_slice(shard.get(8..start)?).ok()?;
    let range = |name: &str| -> Option<Range<usize>> {
        let [from, to]: [usize; 2] =
            serde_json::from_value(header.get(name)?["data_offsets"].clone()).ok()?;
        let range = start.checked_add(from)?..start.checked_add(to)?;
        (range.start <= range.end && range.end <= shard.len()).then_some(range)
    };
    let words = |name: &str| -> Option<Vec<usize>> {
        let words = shard[range(name)?].as_chunks().0.iter();
        Some(
            words
                .map(|&word| u32::from_le_bytes(word) as usize)
                .collect(),
        )
    };
    let (tokens, entries, hashes) = (
        words("row_tokens")?,
        words("row_entries")?,
        range("row_hashes")?,
    );
    let data_start = range("row_entries")?.end;
    let mut data: Vec<(Range<usize>, bool)> = Vec::new();
    for (name, of_entries) in [
        ("ids", true),
        ("log_probabilities", header.get("ids").is_some()),
        ("tail", false),
        ("lengths", false),
        ("hidden.1", false),
        ("counts", true),
    ] {
        data.extend(range(name).map(|range| (range, of_entries)));
    }
    let mut hashers = vec![blake3::Hasher::new(); tokens.len().min(entries.len())];
    for (range, of_entries) in data {
        let counts = if of_entries { &entries } else { &tokens };
        let all: usize = counts.iter().sum();
        let each = range.len().checked_div(all).unwrap_or(0);
        let mut at = range.start;
        for (hasher, count) in hashers.iter_mut().zip(counts) {
            let end = at.checked_add(count.checked_mul(each)?)?;
            hasher.update(shard.get(at..end)?);
            at = end;
        }
    }
    for (to, hasher) in shard[hashes].chunks_exact_mut(32).zip(hashers) {
        to.copy_from_slice(hasher.finalize().as_bytes());
    }
    Some(data_start)
}

fuzz_target!(init: begin_with("recording", inputs()), |input: &[u8]| {
    let (text, shard) = halves(input);
    let mut shard = shard.to_vec();
    let manifest: Value = serde_json::from_slice(text).unwrap_or_default();
    let index = hash_rows(&mut shard).unwrap_or(0);
    let shards = manifest["shards"].as_array().map_or(0, Vec::len).min(3);
    for number in 0..shards {
        let file = folder().join(format!("shard-{number:05}.safetensors"));
        fs::write(file, &shard).expect("a file");
    }
    let words = [(INDEX, blake3::hash(&shard[..index]).to_string())];
    let text = sealed(&replaced(text, &words));
    fs::write(folder().join("manifest.json"), text).expect("a file");
    if let Err(problem) = read(&manifest) {
        std::hint::black_box(problem.to_string());
    }
});
