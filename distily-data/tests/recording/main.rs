//! What a recording promises: it answers as the teacher did, any batch of recorded rows and no
//! other, and an error for any byte that is not as it was written.
#![allow(clippy::unwrap_used)]

mod damage;
mod large;
mod likely;

use burn::tensor::{Device, Int, Tensor, TensorData};
use distily_core::{
    Answer, Distribution, Feature, Features, ForwardError, LayerFeatures, ModelShape, Seed, Taps,
    Teacher, TokenBatch,
};
use distily_data::{
    Codec, ContentHash, LikelyIds, Packing, Provenance, Recorder, Recording, RecordingConfig,
    RecordingError, TokenRows, Tokens,
};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const WIDTH: usize = 3;

/// Logits and hidden states that follow from the ids alone.
#[derive(Debug, Clone)]
struct Formula {
    vocabulary: usize,
}

impl Teacher for Formula {
    fn shape(&self) -> ModelShape {
        ModelShape {
            vocabulary: self.vocabulary,
            width: WIDTH,
            layers: 4,
            ..ModelShape::default()
        }
    }
    fn answer(&self, batch: &TokenBatch, _: &Taps) -> Result<Answer, ForwardError> {
        let of = |width: usize, scale: f32| {
            let ids = batch.id_rows().flatten();
            let values: Vec<f32> = ids
                .flat_map(|&id| {
                    (0..width).map(move |at| (id as f32 * 0.7 + at as f32 * 1.3).sin() * scale)
                })
                .collect();
            let [rows, length] = batch.shape();
            Tensor::<3>::from_data(
                TensorData::new(values, [rows, length, width]),
                &Device::flex(),
            )
        };
        let mut features = Features::default();
        for layer in [1, 3] {
            let hidden = Some(of(WIDTH, layer as f32));
            features.layers.insert(
                layer,
                LayerFeatures {
                    hidden,
                    ..LayerFeatures::default()
                },
            );
        }
        Ok(Answer {
            distribution: Distribution::Logits(of(self.vocabulary, 3.0)),
            features,
        })
    }
    fn on(&self, _: &Device) -> Arc<dyn Teacher> {
        Arc::new(self.clone())
    }
}

fn rows(vocabulary: u32, documents: u32) -> TokenRows {
    let documents: Vec<Vec<u32>> = (0..documents)
        .map(|d| {
            (0..3 + d % 11)
                .map(|t| (d * 7 + t * t) % vocabulary)
                .collect()
        })
        .collect();
    TokenRows::pack(Tokens::new(&documents).unwrap(), Packing::BestFit, 8).unwrap()
}

fn config(rows: &TokenRows, vocabulary: usize, codec: Codec, temperature: f64) -> RecordingConfig {
    RecordingConfig {
        provenance: Provenance {
            teacher: ContentHash::of("test", ["teacher"]),
            tokenizer: ContentHash::of("test", ["tokenizer"]),
            data: rows.key(),
            temperature,
        },
        shape: Formula { vocabulary }.shape(),
        codec,
        hidden_layers: vec![1, 3],
    }
}

const TOP_K: Codec = Codec::TopK { k: 4, p: 1.0 };

fn record(folder: &Path, rows: &TokenRows, config: &RecordingConfig) -> Recording {
    let vocabulary = config.shape.vocabulary;
    let mut recorder = Recorder::open(folder, config.clone()).unwrap();
    recorder.record(&Formula { vocabulary }, rows, 3).unwrap();
    open(folder, config).unwrap()
}

fn open(folder: &Path, config: &RecordingConfig) -> Result<Recording, RecordingError> {
    Recording::open(folder, &config.provenance, &Device::flex())
}

fn floats<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
    x.to_data().iter::<f32>().collect()
}

fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let weights = logits.iter().map(|&x| (f64::from(x) / temperature).exp());
    let weights: Vec<f64> = weights.collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| w / total).collect()
}

/// Compares a recording's answer to a batch with the teacher's.
fn compare(recording: &Recording, batch: &TokenBatch) {
    let config = recording.config();
    let (vocabulary, temperature) = (config.shape.vocabulary, config.provenance.temperature);
    let taps = Taps::none()
        .with(1, Feature::Hidden)
        .with(3, Feature::Hidden);
    let answer = recording.answer(batch, &taps).unwrap();
    let live = Formula { vocabulary }.answer(batch, &taps).unwrap();
    let Distribution::Logits(logits) = live.distribution else {
        unreachable!()
    };
    let p: Vec<Vec<f64>> = floats(&logits)
        .chunks(vocabulary)
        .map(|logits| softmax(logits, temperature))
        .collect();
    let real: Vec<bool> = batch.segments().ids().iter().map(|&s| s != 0).collect();
    for layer in [1, 3] {
        let [ours, theirs] = [&answer.features, &live.features]
            .map(|features| floats(features.hidden(layer).unwrap()));
        for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let expected = if real[at / WIDTH] { theirs } else { 0.0 };
            assert!((ours - expected).abs() < 2e-3, "{ours} {expected}");
        }
    }
    match answer.distribution {
        Distribution::Logits(logits) => {
            for (at, logits) in floats(&logits)
                .chunks(vocabulary)
                .enumerate()
                .filter(|(at, _)| real[*at])
            {
                for (ours, p) in softmax(logits, 1.0).iter().zip(&p[at]) {
                    assert!((ours - p).abs() < 5e-3 * p + 1e-6, "{ours} {p}");
                }
            }
        }
        Distribution::Sparse {
            ids,
            probabilities,
            tail,
            ..
        } => {
            let k = ids.dims()[2];
            let ids: Vec<i64> = ids.into_data().iter().collect();
            let (probabilities, tail) = (floats(&probabilities), floats(&tail));
            for at in 0..real.len() {
                let ours = ids[at * k..][..k].iter().zip(&probabilities[at * k..][..k]);
                let ours: Vec<(usize, f64)> = ours
                    .map(|(&id, &p)| (id as usize, f64::from(p)))
                    .filter(|(_, p)| *p > 0.0)
                    .collect();
                let sum: f64 = ours.iter().map(|(_, p)| p).sum();
                if !real[at] {
                    assert!(ours.is_empty() && tail[at] == 0.0);
                    continue;
                }
                assert!((sum + f64::from(tail[at]) - 1.0).abs() < 5e-3);
                match config.codec {
                    Codec::TopK { k, p: mass } => {
                        let least = ours.last().unwrap().1;
                        let above = p[at].iter().filter(|&&p| p > least * 1.01).count();
                        assert!(above < ours.len() && ours.len() <= k);
                        assert!(ours.len() == k.min(vocabulary) || sum >= mass - 5e-3);
                        assert!(sum - least < mass + 5e-3);
                        for (id, ours) in ours {
                            assert!((ours - p[at][id]).abs() < 5e-3 * p[at][id] + 1e-6);
                        }
                    }
                    Codec::Sampled { draws, .. } => {
                        assert!((sum - 1.0).abs() < 1e-5, "frequencies");
                        let draws = draws as f64;
                        for (id, p) in p[at].iter().enumerate() {
                            let ours = ours.iter().find(|ours| ours.0 == id);
                            let apart = (ours.map_or(0.0, |ours| ours.1) - p).abs();
                            // Six deviations, and what counts of rare ids are off by.
                            assert!(
                                apart < 6.0 * (p / draws).sqrt() + 4.0 / draws,
                                "{apart} {p}"
                            );
                        }
                    }
                    _ => unreachable!(),
                }
            }
        }
        other => panic!("{other:?}"),
    }
}

fn codec() -> impl Strategy<Value = (Codec, f64)> {
    prop_oneof![
        Just((Codec::Full, 1.0)),
        (1usize..9, 0.5f64..3.0).prop_map(|(k, t)| (Codec::TopK { k, p: 1.0 }, t)),
        (1usize..9, 0.2f64..1.0, 0.5f64..3.0).prop_map(|(k, p, t)| (Codec::TopK { k, p }, t)),
        (1usize..300, any::<u64>(), 0.5f64..3.0).prop_map(|(draws, seed, t)| (
            Codec::Sampled {
                draws,
                seed: Seed(seed)
            },
            t
        )),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn every_codec_brings_back_what_the_teacher_said(
        (codec, temperature) in codec(), vocabulary in 5usize..20, shuffle in any::<u64>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rows = rows(vocabulary as u32, 9);
        let recording = record(folder.path(), &rows, &config(&rows, vocabulary, codec, temperature));
        recording.verify().unwrap();
        for batch in rows.in_order(2) {
            compare(&recording, &batch.unwrap());
        }
        // Any rows in any order.
        compare(&recording, &rows.batches(3).at(Seed(shuffle), 0, 0).unwrap());
    }
}

#[test]
fn many_draws_come_near_the_distribution() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(9, 9);
    let codec = Codec::Sampled {
        draws: 5000,
        seed: Seed(3),
    };
    let recording = record(folder.path(), &rows, &config(&rows, 9, codec, 2.0));
    for batch in rows.in_order(4) {
        compare(&recording, &batch.unwrap());
    }
}

#[test]
fn wide_ids_take_four_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(70_000, 2);
    for codec in [
        TOP_K,
        Codec::Sampled {
            draws: 300,
            seed: Seed(1),
        },
    ] {
        let folder = folder.path().join(format!("{codec:?}"));
        let recording = record(&folder, &rows, &config(&rows, 70_000, codec, 1.0));
        compare(&recording, &rows.in_order(9).next().unwrap().unwrap());
    }
}

#[test]
fn rows_that_were_not_recorded_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [rows, more] = [rows(9, 9), rows(9, 90)];
    let recording = record(folder.path(), &rows, &config(&rows, 9, TOP_K, 1.0));
    assert_eq!(recording.missing(&rows).unwrap(), 0);
    assert!(recording.missing(&more).unwrap() > 0);
    let other = TokenBatch::new(vec![1, 2, 3, 4], [1, 4]).unwrap();
    let problem = recording
        .answer(&other, &Taps::none())
        .unwrap_err()
        .to_string();
    assert!(
        problem.contains("row 0 of the batch is none of"),
        "{problem}"
    );
    let batch = rows.in_order(1).next().unwrap().unwrap();
    for (taps, says) in [
        (
            Taps::none().with(2, Feature::Hidden),
            "states of layer 2 were not recorded, only those of [1, 3]",
        ),
        (
            Taps::none().with(1, Feature::Query),
            "no recording has the queries, keys, values or attention of layer 1",
        ),
        (
            Taps::none().with_embedding(),
            "no recording has the embedding output",
        ),
    ] {
        let problem = recording.answer(&batch, &taps).unwrap_err().to_string();
        assert!(problem.contains(says), "{problem}");
    }
}

#[test]
fn an_id_beyond_the_vocabulary_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(9, 9);
    let recording = record(folder.path(), &rows, &config(&rows, 9, TOP_K, 1.0));
    let beyond = TokenBatch::new(vec![1, 9], [1, 2]).unwrap();
    let problem = recording.answer(&beyond, &Taps::none()).unwrap_err();
    let expected = ForwardError::UnknownId {
        id: 9,
        vocabulary: 9,
    };
    assert_eq!(problem.to_string(), expected.to_string());
}

/// Says of every token the ids from 0 on, with these probabilities.
#[derive(Debug, Clone)]
struct Said {
    probabilities: Vec<f32>,
    temperature: f64,
}

impl Teacher for Said {
    fn shape(&self) -> ModelShape {
        Formula { vocabulary: 9 }.shape()
    }
    fn answer(&self, batch: &TokenBatch, _: &Taps) -> Result<Answer, ForwardError> {
        let [rows, length] = batch.shape();
        let (k, device) = (self.probabilities.len(), Device::flex());
        let ids = Tensor::<1, Int>::arange(0..k as i64, &device).unsqueeze::<3>();
        let known = Tensor::<1>::from_data(self.probabilities.as_slice(), &device);
        Ok(Answer {
            distribution: Distribution::Sparse {
                ids: ids.expand([rows, length, k]),
                probabilities: known.unsqueeze::<3>().expand([rows, length, k]),
                tail: Tensor::zeros([rows, length], &device),
                temperature: self.temperature,
            },
            features: Features::default(),
        })
    }
    fn on(&self, _: &Device) -> Arc<dyn Teacher> {
        Arc::new(self.clone())
    }
}

#[test]
fn what_a_sparse_teacher_says_is_checked() {
    let rows = rows(9, 9);
    let config = RecordingConfig {
        hidden_layers: vec![],
        ..config(&rows, 9, TOP_K, 2.0)
    };
    let recorded = |probabilities: &[f32], temperature| {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::open(folder.path(), config.clone()).unwrap();
        let probabilities = probabilities.to_vec();
        let teacher = Said {
            probabilities,
            temperature,
        };
        recorder.record(&teacher, &rows, 3)
    };
    recorded(&[0.5, 0.25], 2.0).unwrap();
    for (probabilities, temperature, says) in [
        (&[0.9, 0.6][..], 2.0, "add up to 1.5"),
        (&[0.5, f32::NAN], 2.0, "of id 1 is NaN"),
        (&[0.5, -0.1], 2.0, "of id 1 is -0.1"),
        (&[0.5, 0.25], 1.0, "probabilities at temperature 1,"),
    ] {
        let problem = recorded(probabilities, temperature).unwrap_err();
        assert!(problem.to_string().contains(says), "{problem}");
    }
}

#[test]
fn a_file_in_the_place_of_the_recording_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let rows = rows(9, 9);
    let config = config(&rows, 9, TOP_K, 1.0);
    for problem in [
        Recorder::open(file.path(), config.clone()).unwrap_err(),
        open(file.path(), &config).unwrap_err(),
    ] {
        let problem = problem.to_string();
        assert!(
            problem.starts_with(file.path().to_str().unwrap()),
            "{problem}"
        );
    }
}

#[test]
fn an_empty_recording_may_become_another() {
    let (folder, rows) = (tempfile::tempdir().unwrap(), rows(9, 9));
    drop(Recorder::open(folder.path(), config(&rows, 9, Codec::Full, 1.0)).unwrap());
    let config = config(&rows, 9, TOP_K, 1.0);
    assert_eq!(record(folder.path(), &rows, &config).config(), &config);
}

#[test]
fn a_number_comes_back_from_the_manifest_as_it_was_written() {
    let (folder, rows) = (tempfile::tempdir().unwrap(), rows(9, 9));
    let codec = Codec::TopK {
        k: 4,
        p: f64::from(0.98f32),
    };
    let config = config(&rows, 9, codec, f64::from(1.7f32));
    record(folder.path(), &rows, &config);
    Recorder::open(folder.path(), config).unwrap();
}

#[test]
fn a_recording_of_another_format_is_not_called_damaged() {
    let (folder, rows) = (tempfile::tempdir().unwrap(), rows(9, 9));
    let config = config(&rows, 9, TOP_K, 1.0);
    let content = r#"{ "format": 1, "of": "old" }"#;
    let hash = ContentHash::of_file(content.as_bytes());
    let text = format!("{{\n\"content\": {content},\n\"blake3\": \"{hash}\"\n}}\n");
    fs::write(folder.path().join("manifest.json"), text).unwrap();
    let problem = open(folder.path(), &config).unwrap_err();
    assert!(
        matches!(problem, RecordingError::Format { got: 1, .. }),
        "{problem}"
    );
}

#[test]
fn another_recording_than_expected_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(9, 9);
    let recorded = config(&rows, 9, TOP_K, 0.1 + 0.2);
    record(folder.path(), &rows, &recorded);
    let other = ContentHash::of("test", ["other"]);
    type Change = fn(&mut RecordingConfig, ContentHash);
    let changes: [(&str, Change); 6] = [
        ("teacher", |config, other| config.provenance.teacher = other),
        ("tokenizer", |config, other| {
            config.provenance.tokenizer = other
        }),
        (
            "data (documents, tokenizer, packing, length)",
            |config, other| config.provenance.data = other,
        ),
        ("temperature", |config, _| {
            config.provenance.temperature = 2.0
        }),
        ("codec", |config, _| {
            config.codec = Codec::TopK { k: 5, p: 1.0 }
        }),
        ("hidden_layers", |config, _| config.hidden_layers = vec![1]),
    ];
    for (what, change) in changes {
        let mut wanted = recorded.clone();
        change(&mut wanted, other);
        let problem = Recorder::open(folder.path(), wanted.clone())
            .unwrap_err()
            .to_string();
        assert!(
            problem.contains(&format!("the recording's {what} is")),
            "{problem}"
        );
        if wanted.provenance != recorded.provenance {
            assert_eq!(
                open(folder.path(), &wanted).unwrap_err().to_string(),
                problem
            );
        }
    }
    let mut recorder = Recorder::open(folder.path(), recorded.clone()).unwrap();
    let problem = Recorder::open(folder.path(), recorded).unwrap_err();
    assert!(matches!(problem, RecordingError::Locked(_)), "{problem}");
    let fewer = rows.limited_to(8);
    let problem = recorder
        .record(&Formula { vocabulary: 9 }, &fewer, 2)
        .unwrap_err();
    assert!(
        matches!(problem, RecordingError::OtherRows { .. }),
        "{problem}"
    );
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|file| file.file_name().unwrap() != ".lock")
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect();
    files.sort();
    files
}

/// `DISTILY_PYTHON=python cargo test --release -p distily-data -- --ignored`.
#[test]
#[ignore = "needs the Python interpreter that DISTILY_PYTHON names, with safetensors"]
fn python_reads_a_shard() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(9, 9);
    record(folder.path(), &rows, &config(&rows, 9, TOP_K, 1.0));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/recording.py");
    let python = std::env::var("DISTILY_PYTHON").expect("DISTILY_PYTHON names an interpreter");
    let mut python = std::process::Command::new(python);
    let status = python.arg(script).arg(folder.path()).status();
    assert!(status.unwrap().success());
}
