//! Recordings of teachers.

use super::*;
use burn::tensor::Device;
use distily_core::{ModelShape, TokenBatch};
use distily_data::{Codec, LikelyIds, Provenance, Recorder, Recording, RecordingConfig};
use std::fs::{self, File};
use std::io::Write;

/// Two shards and a half.
const ROWS: u64 = 32;
/// A megabyte.
const TOKENS: usize = 4000;
/// Rows of a megabyte that bring a shard to 12 MiB.
const ROWS_OF_SHARD: u64 = 13;

pub(super) fn config() -> RecordingConfig {
    let hash = |what: &str| ContentHash::of("test", [what]);
    RecordingConfig {
        provenance: Provenance {
            teacher: hash("teacher"),
            tokenizer: hash("tokenizer"),
            data: hash("data"),
            temperature: 1.0,
        },
        shape: ModelShape {
            vocabulary: 5000,
            ..ModelShape::default()
        },
        codec: Codec::TopK { k: 64, p: 1.0 },
        hidden_layers: vec![],
    }
}

/// What a row is, a megabyte of it.
pub(super) fn row(number: u64) -> (TokenBatch, LikelyIds) {
    let number = number as u32;
    let ids = (0..TOKENS as u32).map(|t| (number * 31 + t) % 5000);
    let known = LikelyIds {
        lengths: vec![64; TOKENS],
        ids: (0..64 * TOKENS as u32)
            .map(|at| (at * 7 + number) % 5000)
            .collect(),
        log_probabilities: vec![-4.5; 64 * TOKENS],
        tails: vec![0.289; TOKENS],
    };
    let batch = TokenBatch::new(ids.collect(), [1, TOKENS]).unwrap();
    (batch, known)
}

/// What a child does: records the rows that are not there yet, and notes how many there are.
fn record(folder: &Path) {
    let mut recorder = Recorder::open(folder, config()).unwrap();
    let mut notes = File::create(folder.with_extension("notes")).unwrap();
    while recorder.rows() < ROWS {
        let (batch, known) = row(recorder.rows());
        recorder.record_likely(&batch, &known).unwrap();
        notes.write_all(b".").unwrap();
    }
    recorder.finish().unwrap();
}

pub(super) fn open(folder: &Path) -> Recording {
    Recording::open(folder, &config().provenance, &Device::flex()).unwrap()
}

/// The names of the files with the hash of their content.
fn files(folder: &Path) -> Vec<(String, ContentHash)> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let mut files: Vec<_> = files
        .map(|file| {
            let content = fs::read(file.path()).unwrap();
            let name = file.file_name().into_string().unwrap();
            (name, ContentHash::of_file(&content))
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

#[test]
fn killed_at_any_moment_the_next_run_completes() {
    if let Some(folder) = given_folder() {
        record(&folder);
        return;
    }
    let test = "recording::killed_at_any_moment_the_next_run_completes";
    let parent = tempfile::tempdir().unwrap();
    let whole = parent.path().join("whole");
    record(&whole);
    let expected = files(&whole);
    let mut begun = 0;
    killed_at_any_moment(test, parent.path(), |folder| {
        // What the manifest names is whole, and no more than the open shard is lost.
        if folder.join("manifest.json").exists() {
            let recording = open(folder);
            recording.verify().unwrap();
            let rows = recording.rows() as u64;
            let noted = fs::read(folder.with_extension("notes")).map_or(0, |notes| notes.len());
            assert!(
                rows + ROWS_OF_SHARD > noted as u64,
                "{rows} rows of {noted}"
            );
            begun += usize::from((1..ROWS).contains(&rows));
        }
        record(folder);
        assert!(files(folder) == expected);
    });
    println!("of 50 kills {begun} met a recording with some of its shards");
    assert!(begun >= 10, "{begun} kills while it was recorded");
}
