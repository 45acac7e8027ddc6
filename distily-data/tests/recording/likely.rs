//! Likely ids that are given.

use super::*;

/// 1 - Σ e^(-4 - i / 64) for i below 64.
const TAIL: f32 = 0.2531;

/// Top-k rows that are given; 2 MB each.
fn given(number: u32, tokens: usize) -> (TokenBatch, LikelyIds) {
    let ids = (0..tokens as u32)
        .map(|t| (number * 31 + t) % 5000)
        .collect();
    let known = LikelyIds {
        lengths: vec![64; tokens],
        ids: (0..64 * tokens as u32)
            .map(|at| (at * 7 + number) % 5000)
            .collect(),
        log_probabilities: (0..64 * tokens)
            .map(|at| -4.0 - (at % 64) as f32 / 64.0)
            .collect(),
        tails: vec![TAIL; tokens],
    };
    (TokenBatch::new(ids, [1, tokens]).unwrap(), known)
}

#[test]
fn a_recording_goes_on_where_the_last_whole_shard_ends() {
    let rows = rows(9, 9);
    let config = RecordingConfig {
        hidden_layers: vec![],
        ..config(&rows, 5000, Codec::TopK { k: 64, p: 1.0 }, 1.0)
    };
    let record = |folder: &Path, until: u64| {
        let mut recorder = Recorder::open(folder, config.clone()).unwrap();
        while recorder.rows() < until {
            let (batch, known) = given(recorder.rows() as u32, 8000);
            recorder.record_likely(&batch, &known).unwrap();
        }
        recorder
    };
    let [whole, broken] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    record(whole.path(), 20).finish().unwrap();
    // Dropped without an end, as a kill would.
    let begun = record(broken.path(), 13);
    drop(begun);
    fs::write(broken.path().join(".partial-left"), "over").unwrap();
    let again = Recorder::open(broken.path(), config.clone()).unwrap();
    assert_eq!(again.rows(), 7, "a shard has 7 rows of 2.08 MB");
    drop(again);
    record(broken.path(), 20).finish().unwrap();
    let content = |folder: &Path| -> Vec<Vec<u8>> {
        files(folder).into_iter().map(|(_, bytes)| bytes).collect()
    };
    assert_eq!(
        content(whole.path()).len(),
        4,
        "three shards and the manifest"
    );
    assert!(content(whole.path()) == content(broken.path()));

    let recording = open(whole.path(), &config).unwrap();
    assert_eq!(recording.rows(), 20);
    let (batch, known) = given(17, 8000);
    let Distribution::Sparse {
        ids,
        probabilities,
        tail,
        ..
    } = recording
        .answer(&batch, &Taps::logits())
        .unwrap()
        .distribution
    else {
        unreachable!()
    };
    let ids: Vec<u32> = ids.into_data().iter().collect();
    assert!(ids == known.ids);
    let close = |(p, log): (&f32, &f32)| (p.ln() - log).abs() < 2e-3;
    assert!(
        floats(&probabilities)
            .iter()
            .zip(&known.log_probabilities)
            .all(close)
    );
    assert!(floats(&tail).iter().all(|&tail| (tail - TAIL).abs() < 1e-3));
}

#[test]
fn likely_ids_that_are_wrong_are_not_recorded() {
    let rows = rows(9, 9);
    let folder = tempfile::tempdir().unwrap();
    let config = RecordingConfig {
        hidden_layers: vec![],
        ..config(&rows, 5000, Codec::TopK { k: 64, p: 1.0 }, 1.0)
    };
    let mut recorder = Recorder::open(folder.path(), config).unwrap();
    let (batch, good) = given(1, 3);
    type Change = fn(&mut LikelyIds);
    let wrong: [(&str, Change); 9] = [
        ("of token 2 rise", |known| {
            known.log_probabilities.swap(128, 130);
        }),
        ("of token 1 and its tail add up to 1.2", |known| {
            known.tails[1] = 0.5
        }),
        ("not in the vocabulary", |known| known.ids[70] = 5000),
        ("twice", |known| known.ids[70] = known.ids[64]),
        ("above 0", |known| known.log_probabilities[9] = 0.1),
        ("no number", |known| known.log_probabilities[9] = f32::NAN),
        ("not between", |known| known.tails[2] = -0.1),
        ("0 ids", |known| {
            (known.lengths[0], known.lengths[1]) = (0, 128)
        }),
        ("not those of 3 tokens", |known| {
            known.lengths[0] = usize::MAX
        }),
    ];
    for (says, change) in wrong {
        let mut known = good.clone();
        change(&mut known);
        let problem = recorder
            .record_likely(&batch, &known)
            .unwrap_err()
            .to_string();
        assert!(problem.contains(says), "{problem}");
    }
    assert_eq!(recorder.rows(), 0);
    recorder.record_likely(&batch, &good).unwrap();
    assert_eq!(recorder.rows(), 1);
}
