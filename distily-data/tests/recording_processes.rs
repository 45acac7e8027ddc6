//! A recorder that is killed at any moment. The test is its own child: it is run again with the
//! recording's folder in a variable.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![cfg(unix)]

use burn::tensor::Device;
use distily_core::{ModelShape, TokenBatch};
use distily_data::{
    Codec, ContentHash, LikelyIds, Provenance, Recorder, Recording, RecordingConfig,
};
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const FOLDER: &str = "DISTILY_TEST_RECORDING";
const TEST: &str = "killed_at_any_moment_the_next_run_completes";
const ROWS: u64 = 150;
const TOKENS: usize = 4000;

fn config() -> RecordingConfig {
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

/// What a child does: records the rows that are not there yet, a megabyte each.
fn record(folder: &Path) {
    let mut recorder = Recorder::open(folder, config()).unwrap();
    while recorder.rows() < ROWS {
        let number = recorder.rows() as u32;
        let ids = (0..TOKENS as u32).map(|t| (number * 31 + t) % 5000);
        let known = LikelyIds {
            lengths: vec![64; TOKENS],
            ids: (0..64 * TOKENS as u32)
                .map(|at| (at * 7 + number) % 5000)
                .collect(),
            log_probabilities: vec![-4.5; 64 * TOKENS],
            tails: vec![0.25; TOKENS],
        };
        let batch = TokenBatch::new(ids.collect(), [1, TOKENS]).unwrap();
        recorder.record_likely(&batch, &known).unwrap();
    }
    recorder.finish().unwrap();
}

/// This test again, as another process.
fn child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--include-ignored", "--quiet"])
        .env(FOLDER, folder)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
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
#[ignore = "takes a minute: 50 kills"]
fn killed_at_any_moment_the_next_run_completes() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        record(Path::new(&folder));
        return;
    }
    let reference = tempfile::tempdir().unwrap();
    let start = Instant::now();
    assert!(child(reference.path()).wait().unwrap().success());
    let whole = start.elapsed();
    let expected = files(reference.path());

    let mut generator = distily_core::Seed(1).generator("kills", 0);
    let mut begun = 0;
    for _ in 0..50 {
        let folder = tempfile::tempdir().unwrap();
        let mut killed = child(folder.path());
        let share = f64::from(rand::Rng::next_u32(&mut generator)) / f64::from(u32::MAX);
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
        killed.kill().unwrap();
        killed.wait().unwrap();
        // What the manifest names is whole, whenever it was.
        if folder.path().join("manifest.json").exists() {
            let open = Recording::open(folder.path(), &config().provenance, &Device::flex());
            let recording = open.unwrap();
            recording.verify().unwrap();
            begun += usize::from((1..ROWS as usize).contains(&recording.rows()));
        }
        record(folder.path());
        assert!(files(folder.path()) == expected);
    }
    println!("of 50 kills {begun} met a recording with some of its shards");
    assert!(begun >= 20, "{begun} kills while it was recorded");
}
