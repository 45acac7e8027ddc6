//! Rows that are larger than a shard.

use super::*;

const VOCABULARY: usize = 50_000;
const LENGTH: usize = 200;

/// Rows of 20 MB, and one of 1 MB.
fn rows() -> TokenRows {
    let document = |start: u32, length: u32| (start..start + length).map(|id| id * 7 % 50_000);
    let documents = [
        document(0, LENGTH as u32).collect(),
        document(9, 10).collect(),
        document(90, LENGTH as u32).collect(),
    ];
    let tokens = Tokens::new(&documents).unwrap();
    TokenRows::pack(tokens, Packing::Padded, LENGTH).unwrap()
}

#[test]
fn a_large_row_is_several_shards_and_whole_or_not_there() {
    let (folder, rows) = (tempfile::tempdir().unwrap(), rows());
    let config = config(&rows, VOCABULARY, Codec::Full, 1.0);
    let recording = record(folder.path(), &rows, &config);
    assert_eq!(recording.rows(), 3);
    recording.verify().unwrap();
    for batch in rows.in_order(2) {
        compare(&recording, &batch.unwrap());
    }
    let shards = files(folder.path());
    let megabytes = shards.iter().map(|(_, content)| content.len() >> 20);
    assert_eq!(megabytes.collect::<Vec<_>>(), [0, 9, 9, 0, 9, 9]);

    // A kill before the manifest names all shards of the last row.
    let other = tempfile::tempdir().unwrap();
    let formula = Formula {
        vocabulary: VOCABULARY,
    };
    let first_rows = rows.clone().limited_to(2 * LENGTH);
    let first = RecordingConfig {
        provenance: Provenance {
            data: first_rows.key(),
            ..config.provenance.clone()
        },
        ..config.clone()
    };
    let mut recorder = Recorder::open(other.path(), first).unwrap();
    recorder.record(&formula, &first_rows, 1).unwrap();
    drop(recorder);
    fs::copy(&shards[4].0, other.path().join("shard-00003.safetensors")).unwrap();
    let manifest = other.path().join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let [of_some, of_all] = [&first_rows, &rows].map(|rows| rows.key().to_string());
    resealed(&manifest, &text, &[(&of_some, &of_all)]);
    assert_eq!(open(other.path(), &config).unwrap().rows(), 2);
    record(other.path(), &rows, &config);
    let contents = |folder: &Path| -> Vec<_> {
        files(folder)
            .into_iter()
            .map(|(_, content)| content)
            .collect()
    };
    assert!(contents(other.path()) == contents(folder.path()));
}

/// Writes a manifest anew with other words in it, as if they had been there.
fn resealed(manifest: &Path, text: &str, words: &[(&str, &str)]) {
    let (start, end) = (text.find(": ").unwrap() + 2, text.rfind(",\n").unwrap());
    let mut content = text[start..end].to_owned();
    for (word, other) in words {
        assert!(content.contains(word), "{word} in {content}");
        content = content.replace(word, other);
    }
    let hash = ContentHash::of_file(content.as_bytes());
    let text = format!("{}{content},\n\"blake3\": \"{hash}\"\n}}\n", &text[..start]);
    fs::write(manifest, text).unwrap();
}

#[test]
fn a_large_row_is_cut_by_its_bytes() {
    const TOKENS: usize = 6000;
    let (folder, rows) = (tempfile::tempdir().unwrap(), rows());
    let config = RecordingConfig {
        hidden_layers: vec![],
        ..config(&rows, 70_000, Codec::TopK { k: 1000, p: 1.0 }, 1.0)
    };
    // Nothing is known of the first half, and much of the second: 18 MB.
    let known = |token: usize| token >= TOKENS / 2;
    let count = TOKENS / 2 * 1000;
    let likely = LikelyIds {
        lengths: (0..TOKENS)
            .map(|t| if known(t) { 1000 } else { 0 })
            .collect(),
        ids: (0..count as u32).map(|at| at % 1000).collect(),
        log_probabilities: vec![-7.0; count],
        tails: (0..TOKENS)
            .map(|t| if known(t) { 0.0881 } else { 1.0 })
            .collect(),
    };
    let batch = TokenBatch::new(vec![5; TOKENS], [1, TOKENS]).unwrap();
    let mut recorder = Recorder::open(folder.path(), config.clone()).unwrap();
    recorder.record_likely(&batch, &likely).unwrap();
    assert_eq!(recorder.rows(), 1);
    let shards = files(folder.path());
    let megabytes = shards.iter().map(|(_, content)| content.len() >> 20);
    assert_eq!(megabytes.collect::<Vec<_>>(), [0, 8, 8]);
    let recording = open(folder.path(), &config).unwrap();
    let answer = recording.answer(&batch, &Taps::logits()).unwrap();
    let Distribution::Sparse { ids, .. } = answer.distribution else {
        unreachable!()
    };
    let ids: Vec<u32> = ids.into_data().iter().collect();
    assert!(ids[count..] == likely.ids);
}

#[test]
fn shards_that_do_not_go_on_with_a_row_are_told() {
    let (folder, rows) = (tempfile::tempdir().unwrap(), rows());
    let config = config(&rows, VOCABULARY, Codec::Full, 1.0);
    record(folder.path(), &rows, &config);
    let manifest = folder.path().join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let starts: Vec<&str> = text.matches("\"row_start\": 104").collect();
    assert_eq!(starts.len(), 2, "{text}");
    for (word, other) in [
        ("\"row_start\": 104", "\"row_start\": 103"),
        ("\"row_start\": 0", "\"row_start\": 1"),
    ] {
        resealed(&manifest, &text, &[(word, other)]);
        let problem = open(folder.path(), &config).unwrap_err().to_string();
        assert!(
            problem.contains("does not go on with the last row"),
            "{problem}"
        );
    }
}
