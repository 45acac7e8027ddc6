//! What other tools kept of a teacher becomes a recording that says the same; what is not of their formats
//! is an error that says where.
#![allow(clippy::unwrap_used)]

mod sparse_answer;

use burn::tensor::Device;
use distily_core::{ModelShape, TokenBatch};
use distily_data::{
    Codec, ContentHash, Import, ImportFormat, Packing, Provenance, Recorder, Recording,
    RecordingConfig, RecordingError, TokenRows, Tokens,
};
use sparse_answer::{SparseAnswer, all};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/imports");

fn config(rows: &TokenRows, k: usize, p: f64) -> RecordingConfig {
    RecordingConfig {
        provenance: Provenance {
            teacher: ContentHash::of("test", ["teacher"]),
            tokenizer: ContentHash::of("test", ["tokenizer"]),
            data: rows.key(),
            temperature: 1.0,
        },
        shape: ModelShape {
            vocabulary: 50,
            ..ModelShape::default()
        },
        codec: Codec::TopK { k, p },
        hidden_layers: vec![],
    }
}

/// Records an import's own rows.
fn record(import: &Import, k: usize, p: f64) -> (TempDir, TokenRows, Recording) {
    let folder = tempfile::tempdir().unwrap();
    let rows = import.rows(6).unwrap();
    let config = config(&rows, k, p);
    let mut recorder = Recorder::open(folder.path(), config.clone()).unwrap();
    recorder.import(import, &rows).unwrap();
    let recording = Recording::open(folder.path(), &config.provenance, &Device::flex()).unwrap();
    (folder, rows, recording)
}

/// A token's ids with their log-probabilities.
type Known = Vec<(u32, f64)>;

/// What is known at each token of each row, but padding.
fn known(recording: &Recording, batch: &TokenBatch) -> Vec<Vec<Known>> {
    let answer = SparseAnswer::of(recording, batch);
    let (k, [rows, length]) = (answer.k, batch.shape());
    let at_token = |token: usize| {
        let known = answer.ids[token * k..][..k].iter();
        let known = known.zip(&answer.probabilities[token * k..][..k]);
        let known = known.filter(|(_, p)| **p > 0.0);
        let known: Known = known
            .map(|(&id, &p)| (id as u32, f64::from(p).ln()))
            .collect();
        let mass: f64 = known.iter().map(|(_, log)| log.exp()).sum();
        assert!((mass + f64::from(answer.tail[token]) - 1.0).abs() < 2e-3);
        known
    };
    let segments = batch.segments().ids();
    let of_row = |row: usize| {
        let tokens = (row * length..(row + 1) * length).filter(|&token| segments[token] != 0);
        tokens.map(at_token).collect()
    };
    (0..rows).map(of_row).collect()
}

/// Compares an import's recording with what is expected at each token of each row, and the tokens
/// that count with those at which something is.
fn expect(import: &Import, expected: &[&[&[(u32, f64)]]]) {
    let (_folder, rows, recording) = record(import, 20, 1.0);
    let batch = all(&rows);
    let known = known(&recording, &batch);
    assert_eq!(known.len(), expected.len());
    for (known, expected) in known.iter().zip(expected) {
        assert_eq!(known.len(), expected.len(), "{known:?}");
        for (known, expected) in known.iter().zip(*expected) {
            let ids = |of: &[(u32, f64)]| of.iter().map(|known| known.0).collect::<Vec<_>>();
            assert_eq!(ids(known), ids(expected));
            for (known, expected) in known.iter().zip(*expected) {
                assert!(
                    (known.1 - expected.1).abs() < 2e-3,
                    "{known:?} {expected:?}"
                );
            }
        }
    }
    let scored = expected.iter().flat_map(|row| row.iter());
    let scored = scored.filter(|known| !known.is_empty()).count();
    assert_eq!(batch.predictions(), scored);
}

fn file(folder: &Path, name: &str, lines: &[&str]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

/// What is wrong with a second line after a good one: it is said, with the file and the row.
fn refuse(format: ImportFormat, good: &str, wrong: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "a.jsonl", &[good]);
    Import::open(&path, format).unwrap().rows(6).unwrap();
    for (line, says) in wrong {
        file(folder.path(), "a.jsonl", &[good, line]);
        let problem = Import::open(&path, format).unwrap().rows(6).unwrap_err();
        let problem = problem.to_string();
        assert!(problem.contains("a.jsonl, row 2: "), "{problem}");
        assert!(problem.contains(says), "{says}: {problem}");
    }
}

const COMPLETIONS: &str = r#"{ "id": "cmpl-1", "choices": [
  { "index": 1, "text": "x", "prompt_token_ids": [5, 6], "prompt_logprobs": [null,
    { "6": { "logprob": -0.125, "rank": 1, "decoded_token": "b" } }] },
  { "index": 0, "text": "y", "prompt_token_ids": [7, 8, 9], "prompt_logprobs": [null,
    { "8": { "logprob": -7.5, "rank": 31, "decoded_token": "own" },
      "30": { "logprob": -0.5, "rank": 1 }, "4": { "logprob": -1.0, "rank": 2 } },
    { "9": { "logprob": -0.25, "rank": null }, "2": { "logprob": -9999.0, "rank": 2 } }] } ] }"#;

const CHAT: &str = r#"{ "choices": [{ "index": 0, "message": { "content": "x" } }],
  "prompt_token_ids": [4, 6], "prompt_logprobs": [null, { "6": { "logprob": -0.5, "rank": 1 } }] }"#;

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

#[test]
fn answers_of_vllm() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [one_line(COMPLETIONS), one_line(CHAT)];
    let path = folder.path().join("answers.jsonl.gz");
    let gzip = fs::File::create(&path).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(gzip, flate2::Compression::fast());
    gzip.write_all(lines.join("\n").as_bytes()).unwrap();
    gzip.finish().unwrap();
    expect(
        &Import::open(path, ImportFormat::Vllm).unwrap(),
        &[
            // The prompt's own token is none of the two likeliest, and -9999 is no probability.
            &[&[(30, -0.5), (4, -1.0)], &[(9, -0.25)], &[]],
            &[&[(6, -0.125)], &[]],
            &[&[(6, -0.5)], &[]],
        ],
    );
}

#[test]
fn answers_that_are_not_of_vllm() {
    let of = |ids: &str, logprobs: &str| {
        format!(
            r#"{{ "choices": [{{ "index": 0, "prompt_token_ids": {ids}, "prompt_logprobs": {logprobs} }}] }}"#
        )
    };
    let six = r#"{ "6": { "logprob": -0.5, "rank": 1 } }"#;
    let wrong = [
        (
            r#"{ "error": { "message": "no" } }"#.to_owned(),
            "missing field `choices`",
        ),
        ("[1]".to_owned(), "`choices`"),
        (
            r#"{ "choices": [{ "index": 0 }] }"#.to_owned(),
            "ask for them",
        ),
        (of("null", &format!("[null, {six}]")), "`return_token_ids`"),
        (
            of("[5, 6]", &format!("[{six}]")),
            "1 `prompt_logprobs` for a prompt of 2",
        ),
        (
            of("[5, 6]", &format!("[{six}, null]")),
            "first token, expected null",
        ),
        (of("[5, 6]", "[null, null]"), "without prefix caching"),
        (of("[5, 7]", &format!("[null, {six}]")), "no entry for 7"),
        (
            of("[5, 6]", r#"[null, { "6": { "logprob": 0.5 } }]"#),
            "token 1: id 6 has the log-probability 0.5",
        ),
        (
            of("[5, 6]", r#"[null, { "six": { "logprob": -0.5 } }]"#),
            "expected key to be a number",
        ),
        (
            of("[5, 6]", r#"[null, { "6": { "logprob": "-0.5" } }]"#),
            "string",
        ),
        (of("[]", "[]"), "without tokens"),
    ];
    let wrong: Vec<_> = wrong
        .iter()
        .map(|(line, says)| (line.as_str(), *says))
        .collect();
    refuse(ImportFormat::Vllm, &one_line(CHAT), &wrong);
}

#[test]
fn a_prepared_data_set_of_axolotl() {
    let import = Import::open(format!("{GOLDEN}/axolotl.parquet"), ImportFormat::Axolotl);
    // Once as it is for a trainer that does not shift, and once as axolotl's strategy writes it.
    let row: &[&[(u32, f64)]] = &[&[], &[(9, -0.25), (4, -2.0)], &[(10, -0.5)], &[]];
    expect(&import.unwrap(), &[row, row]);
}

const EXPECTED: &str = r#"{ "input_ids": [7, 8, 9], "logprobs": [[-0.25, -2.0], [-0.5, null]], "target_token_ids": [[8, 4], [9, 0]] }"#;

#[test]
fn a_data_set_of_axolotl_before_it_is_prepared() {
    let folder = tempfile::tempdir().unwrap();
    // The last tokens' own: of the tokens before them they are the predictions.
    let entries = r#"{ "input_ids": [6, 8, 9], "logprobs": [null, [],
        [{ "token": "token_id:9", "logprob": -0.5 }, { "token": "token_id:3", "logprob": -1.5 }]] }"#;
    let path = file(folder.path(), "a.jsonl", &[EXPECTED, &one_line(entries)]);
    expect(
        &Import::open(path, ImportFormat::Axolotl).unwrap(),
        &[
            &[&[(8, -0.25), (4, -2.0)], &[(9, -0.5)], &[]],
            &[&[], &[(9, -0.5), (3, -1.5)], &[]],
        ],
    );
}

#[test]
fn rows_that_are_not_of_axolotl() {
    let of = |fields: &str| format!(r#"{{ "input_ids": [7, 8], {fields} }}"#);
    let wrong = [
        (
            r#"{ "messages": [], "logprobs": [] }"#.to_owned(),
            "missing field `input_ids`",
        ),
        (
            of(r#""labels": [7, 8]"#),
            "neither `target_logprobs` (of a prepared data set) nor `logprobs`",
        ),
        (of(r#""labels": [7], "logprobs": []"#), "1 `labels` for 2"),
        (of(r#""logprobs": [[], [], []]"#), "3 `logprobs` for 2"),
        (of(r#""logprobs": [[-0.5]]"#), "no `target_token_ids`"),
        (
            of(r#""logprobs": [[-0.5]], "target_token_ids": [[1], [2]]"#),
            "2 `target_token_ids` for 1 `logprobs`",
        ),
        (
            of(r#""logprobs": [[-0.5]], "target_token_ids": [[1, 2]]"#),
            "place 0 of `logprobs`: 2 `target_token_ids`, but 1",
        ),
        (
            of(r#""logprobs": [[-0.5], [-0.5]], "target_token_ids": [[1], [2]]"#),
            "first token",
        ),
        (
            of(r#""logprobs": [[{ "token": " cat", "logprob": -0.5 }]]"#),
            "`return_tokens_as_token_ids`",
        ),
        (of(r#""logprobs": [7]"#), "lists of numbers, or of entries"),
        (
            of(r#""target_logprobs": [[-0.5]], "target_token_ids": [[1]]"#),
            "1 `target_logprobs` for 2",
        ),
        (
            of(r#""target_logprobs": [[-0.5], []], "target_token_ids": [[1, 2], []]"#),
            "place 0 has 2 ids, but 1",
        ),
        (
            of(
                r#""target_logprobs": [[-0.5], []], "target_token_ids": [[1], []], "target_mask": [[1, 1], []]"#,
            ),
            "sizes",
        ),
        (
            of(
                r#""target_logprobs": [[-0.5], [-0.5]], "target_token_ids": [[7], [8]], "target_mask": [[1], [1]], "labels": [7, -100]"#,
            ),
            "can't be told",
        ),
        (
            of(r#""target_logprobs": [[-0.5], [-0.5]], "target_token_ids": [[8], [9]]"#),
            "targets of the first token as well as of the last",
        ),
    ];
    let wrong: Vec<_> = wrong
        .iter()
        .map(|(line, says)| (line.as_str(), *says))
        .collect();
    refuse(ImportFormat::Axolotl, EXPECTED, &wrong);
}

const SEQUENCES: &str = r#"{ "sequences": [[7, 8, 9, 10], [5, 6]], "prompt_lengths": [2, 0],
  "logprobs": [[[-0.25, -2.0], [-0.5, null]], [[], [-1.0]]],
  "logprob_token_ids": [[[9, 4], [10, 3]], [[], [6]]] }"#;

#[test]
fn what_the_server_of_trl_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "a.json", &[&one_line(SEQUENCES)]);
    expect(
        &Import::open(path, ImportFormat::Trl).unwrap(),
        &[
            &[&[], &[(9, -0.25), (4, -2.0)], &[(10, -0.5)], &[]],
            &[&[(6, -1.0)], &[]],
        ],
    );
}

#[test]
fn what_the_server_of_trl_does_not_say() {
    let of = |prompts: &str, logs: &str, ids: &str| {
        format!(
            r#"{{ "sequences": [[7, 8]], "prompt_lengths": {prompts}, "logprobs": {logs}, "logprob_token_ids": {ids} }}"#
        )
    };
    let wrong = [
        (
            r#"{ "logprobs": [], "logprob_token_ids": [] }"#.to_owned(),
            "missing field `sequences`",
        ),
        (
            of("[]", "[[]]", "[[]]"),
            "0 `prompt_lengths` for 1 `sequences`",
        ),
        (
            of("[1]", "[[]]", "[[]]"),
            "sequence 0: `logprob_token_ids` of 0 tokens, but a prompt of 1 in 2",
        ),
        (of("[3]", "[[]]", "[[]]"), "a prompt of 3 in 2"),
        (of("[1]", "[[]]", "[[[8]]]"), "1 tokens have ids, but 0"),
        (
            of("[1]", "[[[-0.5]]]", "[[[8, 9]]]"),
            "place 0 has 2 ids, but 1",
        ),
        (of("[1]", "[[[0.5]]]", "[[[8]]]"), "at most 0"),
        (of("[1]", "[[[-Infinity]]]", "[[[8]]]"), "column"),
    ];
    let wrong: Vec<_> = wrong
        .iter()
        .map(|(line, says)| (line.as_str(), *says))
        .collect();
    refuse(ImportFormat::Trl, &one_line(SEQUENCES), &wrong);
}

#[test]
fn a_folder_of_distill_kit() {
    let import = Import::open(format!("{GOLDEN}/distill_kit"), ImportFormat::DistillKit);
    expect(
        &import.unwrap(),
        &[
            &[
                &[(49, -0.5), (0, -1.5), (33, -2.25), (8, -3.75)],
                &[(3, -1.0), (1, -2.0), (2, -3.0), (4, -4.0)],
                &[],
            ],
            &[&[(49, -0.5), (0, -1.5), (33, -2.25), (8, -3.75)], &[]],
            &[&[(3, -1.0), (1, -2.0), (2, -3.0), (4, -4.0)], &[]],
        ],
    );
}

#[test]
fn what_distill_kit_does_not_write() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = fs::read_to_string(format!("{GOLDEN}/distill_kit/compression_config.yaml")).unwrap();
    let row = |ids: usize, logs: usize, packed: usize| {
        let bytes = |count: usize| vec![vec![0; count]; 2];
        serde_json::json!({ "input_ids": vec![1; ids],
            "compressed_logprobs": bytes(logs), "bytepacked_indices": bytes(packed) })
        .to_string()
    };
    let problem = |yaml: Option<&str>, row: &str| {
        let path = file(folder.path(), "a.jsonl", &[row]);
        let config = folder.path().join("compression_config.yaml");
        match yaml {
            Some(yaml) => fs::write(config, yaml).unwrap(),
            None => assert!(!config.exists()),
        }
        let import = Import::open(path, ImportFormat::DistillKit).unwrap();
        import.rows(6).unwrap_err().to_string()
    };
    let good = row(3, 15, 3);
    for (change, row, says) in [
        (None, good.clone(), "compression_config.yaml: "),
        (
            Some(("", "")),
            row(3, 14, 3),
            "token 0: `compressed_logprobs`: 0 bytes where 1 are to be",
        ),
        (Some(("", "")), row(3, 16, 3), "1 bytes more than"),
        (
            Some(("", "")),
            row(3, 15, 2),
            "`bytepacked_indices`: 2 bytes where 3 are to be",
        ),
        (
            Some(("", "")),
            row(4, 15, 3),
            "2 `compressed_logprobs` and 2 `bytepacked_indices` for 4 `input_ids`",
        ),
        (Some(("", "")), row(1, 15, 3), "for 1 `input_ids`"),
        (
            Some(("", "")),
            r#"{ "input_ids": [1], "packed_indices": [] }"#.to_owned(),
            "missing field `compressed_logprobs`",
        ),
        (
            Some(("k: 4\n", "k: four\n")),
            good.clone(),
            "not a compression of DistillKit",
        ),
        (
            Some(("k: 4\n", "k: 1000000000\n")),
            good.clone(),
            "a `k` of 1 to 65536",
        ),
        (
            Some(("exact_k: 2", "exact_k: 5")),
            good.clone(),
            "an `exact_k` of at most `k`",
        ),
        (
            Some(("num_elements: 2", "num_elements: 3")),
            good.clone(),
            "bins of at most",
        ),
        (
            Some(("element_bits: 3", "element_bits: 64")),
            good.clone(),
            "`element_bits` of 1 to 32",
        ),
        (
            Some(("- sqrt", "- cos")),
            good.clone(),
            "not a compression of DistillKit",
        ),
        (
            Some(("d: 50", "polynomial_degree: 3")),
            good.clone(),
            "polynomial_degree",
        ),
    ] {
        let yaml = change.map(|(from, to)| yaml.replacen(from, to, 1));
        let problem = problem(yaml.as_deref(), &row);
        assert!(problem.contains(says), "{says}: {problem}");
    }
}

#[test]
fn a_recording_keeps_no_more_than_its_codec_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "a.jsonl", &[EXPECTED]);
    let import = Import::open(path, ImportFormat::Axolotl).unwrap();
    for (k, p, kept) in [(20, 1.0, 2), (1, 1.0, 1), (20, 0.5, 1), (20, 0.8, 2)] {
        let (_folder, rows, recording) = record(&import, k, p);
        let known = known(&recording, &all(&rows));
        assert_eq!(known[0][0].len(), kept, "{k} {p}");
        assert_eq!(known[0][0][0].0, 8);
    }
}

#[test]
fn rows_that_were_packed_otherwise_take_an_import_document_by_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        folder.path(),
        "a.jsonl",
        &[&one_line(COMPLETIONS), &one_line(CHAT)],
    );
    let import = Import::open(&path, ImportFormat::Vllm).unwrap();
    let pack = |documents: &[Vec<u32>]| {
        TokenRows::pack(Tokens::new(documents).unwrap(), Packing::Padded, 2).unwrap()
    };
    // The first loses its end.
    let rows = pack(&[vec![7, 8, 9], vec![5, 6], vec![4, 6]]);
    let config_of = |rows: &TokenRows| config(rows, 20, 1.0);
    let import_into = |name: &str, rows: &TokenRows, config: RecordingConfig| {
        let mut recorder = Recorder::open(folder.path().join(name), config).unwrap();
        let imported = recorder.import(&import, rows);
        imported.map(|()| recorder.rows())
    };
    assert_eq!(import_into("whole", &rows, config_of(&rows)).unwrap(), 3);
    // Once more: all is there.
    assert_eq!(import_into("whole", &rows, config_of(&rows)).unwrap(), 3);
    let shared = TokenRows::pack(
        Tokens::new(&[vec![7, 8, 9], vec![5, 6]]).unwrap(),
        Packing::Wrapped,
        5,
    )
    .unwrap();
    assert_eq!(
        import_into("shared", &shared, config_of(&shared)).unwrap(),
        1
    );

    let others = pack(&[vec![7, 8, 9], vec![5, 7]]);
    let more = pack(&[vec![7, 8, 9], vec![5, 6], vec![4, 6], vec![5, 6]]);
    for (name, rows, says) in [
        (
            "others",
            &others,
            "its next sequence is [5, 6] of 2 tokens, but in row 1 comes [5, 7] of 2 tokens",
        ),
        (
            "more",
            &more,
            "has no more sequences, but in row 3 comes [5, 6]",
        ),
    ] {
        let problem = import_into(name, rows, config_of(rows))
            .unwrap_err()
            .to_string();
        assert!(
            problem.contains("a.jsonl") && problem.contains(says),
            "{problem}"
        );
    }
    let problem = import_into("not of", &others, config_of(&rows)).unwrap_err();
    assert!(
        matches!(problem, RecordingError::OtherRows { .. }),
        "{problem}"
    );
    let small = RecordingConfig {
        shape: ModelShape {
            vocabulary: 9,
            ..ModelShape::default()
        },
        ..config_of(&rows)
    };
    let full = RecordingConfig {
        codec: Codec::Full,
        ..config_of(&rows)
    };
    for (name, config, says) in [
        ("small", small, "row 0: id 30 is not in the vocabulary of 9"),
        (
            "full",
            full,
            "row 0: likely ids are given, but the codec is not `top_k`",
        ),
    ] {
        let problem = import_into(name, &rows, config).unwrap_err().to_string();
        assert!(problem.contains(says), "{problem}");
    }
}

#[test]
fn what_is_no_file_of_rows() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["none.jsonl", "a.bin", ""] {
        file(folder.path(), "a.bin", &[]);
        let problem = Import::open(folder.path().join(name), ImportFormat::Vllm).unwrap_err();
        let problem = problem.to_string();
        assert!(
            problem.contains("expected a file, or a folder"),
            "{problem}"
        );
    }
    let path = file(folder.path(), "a.csv", &["a,b"]);
    let problem = Import::open(path, ImportFormat::Vllm)
        .unwrap()
        .rows(6)
        .unwrap_err();
    assert!(
        problem.to_string().contains("a.csv: expected JSON lines"),
        "{problem}"
    );
    let other = format!("{GOLDEN}/axolotl.parquet");
    let problem = Import::open(other, ImportFormat::Trl)
        .unwrap()
        .rows(6)
        .unwrap_err();
    let says = "has no column `sequences`; it has `input_ids`, `labels`";
    assert!(problem.to_string().contains(says), "{problem}");
}
