//! What is taken of sources, in which shares, and on which side.

use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::collections::HashSet;

#[test]
fn a_slice_goes_over_shards() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let all = stories(50);
    for (i, part) in all.chunks(20).enumerate() {
        let rows: Vec<_> = part.iter().map(|text| Some(text.as_bytes())).collect();
        let name = format!("set/de/train-{i:05}-of-00003.parquet");
        put(folder, &name, parquet(&rows, Compression::SNAPPY));
        let name = format!("set/en/train-{i:05}-of-00003.jsonl.zst");
        put(folder, &name, lines(part));
    }
    for subset in ["de", "en"] {
        for (split, rows) in [
            ("train", 0..50),
            ("train[:10%]", 0..5),
            ("train[15:45]", 15..45),
            ("train[-12:]", 38..50),
            ("train[50%:-10%]", 25..45),
        ] {
            let config = json!({ "name": "set", "subset": subset, "split": split });
            assert_eq!(texts(folder, config).unwrap(), all[rows], "{split}");
        }
    }
    let problem = error(
        folder,
        json!({ "name": "set", "split": "train[60:]", "subset": "en" }),
    );
    assert!(problem.contains("no document is left"), "{problem}");
}

#[test]
fn a_corpus_may_be_there_to_measure_with_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, "a.jsonl", lines(&stories(9)));
    let corpus = open(
        folder,
        &super::corpus(json!({ "held_out": [{ "name": "a.jsonl" }] })),
    )
    .unwrap();
    assert_eq!(read(corpus.held_out()).unwrap().len(), 9);
    let problem = read(corpus.train()).unwrap_err().to_string();
    assert_eq!(problem, "`train`: got no source, expected one or more");
    assert!(open(folder, &super::corpus(json!({}))).is_err());
}

#[test]
fn a_side_is_another_where_its_documents_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (name, count) in [("a.jsonl", 9), ("b.jsonl", 10), ("c.jsonl", 11)] {
        put(folder, name, lines(&stories(count)));
    }
    let of = |train: &str, held_out: &[&str], fraction: f64| {
        let named = |name: &str| json!({ "name": name });
        let held_out: Vec<_> = held_out.iter().map(|name| named(name)).collect();
        let corpus =
            json!({ "train": [named(train)], "held_out": held_out, "held_out_fraction": fraction });
        let corpus = open(folder, &super::corpus(corpus)).unwrap();
        [corpus.train(), corpus.held_out()].map(|side| side.identity().unwrap())
    };
    let beside = of("a.jsonl", &["b.jsonl"], 0.1);
    assert_eq!(beside, of("a.jsonl", &["b.jsonl"], 0.2));
    assert_eq!(beside[1], of("c.jsonl", &["b.jsonl"], 0.1)[1]);
    assert_ne!(beside[0], of("a.jsonl", &["c.jsonl"], 0.1)[0]);
    let shared = of("a.jsonl", &[], 0.1);
    let other = of("a.jsonl", &[], 0.2);
    let all = [
        beside[0], beside[1], shared[0], shared[1], other[0], other[1],
    ];
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
}

#[test]
fn what_comes_before_a_slice_must_be_readable() {
    let folder = tempfile::tempdir().unwrap();
    put(
        folder.path(),
        "a.jsonl",
        "{\"text\": \"a\"}\n{\n{\"text\": \"b\"}\n",
    );
    let config = |split: &str| json!({ "name": "a.jsonl", "split": split });
    assert_eq!(texts(folder.path(), config("train[:1]")).unwrap(), ["a"]);
    let problem = error(folder.path(), config("train[2:]"));
    assert!(problem.contains("a.jsonl, row 2: "), "{problem}");
}

#[test]
fn a_sample_is_so_many_rows_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let all = stories(400);
    put(folder, "a.jsonl", lines(&all));
    let of = |seed: u64, sample: u64, split: &str| {
        let source = json!({ "name": "a.jsonl", "sample": sample, "split": split });
        let config = corpus(json!({ "train": [source], "held_out_fraction": 0, "seed": seed }));
        let documents = read(open(folder, &config).unwrap().train()).unwrap();
        documents.into_iter().map(text).collect::<Vec<_>>()
    };
    let sample = of(1, 100, "train");
    assert_eq!(sample.len(), 100);
    let places = sample
        .iter()
        .map(|text| all.iter().position(|story| story == text));
    assert!(places.collect::<Vec<_>>().is_sorted());
    assert_eq!(sample, of(1, 100, "train"));
    assert_ne!(sample, of(2, 100, "train"));
    // From all parts alike: 25 ± 4 of each quarter are expected.
    let quarter: HashSet<&String> = all[300..].iter().collect();
    let last = sample.iter().filter(|text| quarter.contains(text)).count();
    assert!((10..40).contains(&last), "{last}");
    assert_eq!(of(1, 1000, "train"), all);
    let sliced = of(1, 20, "train[50:100]");
    assert!(sliced.len() == 20 && sliced.iter().all(|text| all[50..100].contains(text)));
}

#[test]
fn filters_count_what_they_drop() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rows = ["äöü", "ab", "abcdef", " ", "abc"].map(str::to_owned);
    put(folder, "a.jsonl", lines(&rows));
    let config = json!({ "name": "a.jsonl", "min_characters": 3, "max_characters": 5 });
    assert_eq!(texts(folder, config.clone()).unwrap(), ["äöü", "abc"]);
    let counts = open(folder, &source(config))
        .unwrap()
        .train()
        .count()
        .unwrap();
    let dropped = (counts.blank, counts.too_short, counts.too_long);
    assert_eq!((counts.documents, dropped), (2, (1, 1, 1)));
    let said = "2 documents, 1 blank, 1 too short, 1 too long";
    assert_eq!(counts.to_string(), said);
}

#[test]
fn sources_are_mixed_by_their_weights() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let long: Vec<String> = (0..300).map(|i| format!("{i:>30}l")).collect();
    let short: Vec<String> = (0..3000).map(|i| format!("{i:>8}s")).collect();
    put(folder, "long.jsonl", lines(&long));
    put(folder, "short.jsonl", lines(&short));
    let of = |weights: [Option<f64>; 2]| {
        let source = |name: &str, weight: Option<f64>| json!({ "name": name, "weight": weight });
        let train = json!([
            source("long.jsonl", weights[0]),
            source("short.jsonl", weights[1])
        ]);
        let config = corpus(json!({ "train": train, "held_out_fraction": 0 }));
        let documents = read(open(folder, &config)?.train())?;
        Ok::<_, DataError>(documents.into_iter().map(text).collect::<Vec<_>>())
    };
    let mixed = of([Some(3.0), Some(1.0)]).unwrap();
    let bytes = |end: char, texts: &[String]| -> usize {
        texts
            .iter()
            .filter(|text| text.ends_with(end))
            .map(String::len)
            .sum()
    };
    // From any point on, not only in the end.
    for part in [100, 200, mixed.len()] {
        let (long, short) = (bytes('l', &mixed[..part]), bytes('s', &mixed[..part]));
        assert!(long.abs_diff(3 * short) <= 3 * 31, "{long} and {short}");
    }
    assert_eq!(bytes('l', &mixed), 300 * 31);
    assert_eq!(mixed, of([Some(6.0), Some(2.0)]).unwrap());
    let chained = of([None, None]).unwrap();
    assert_eq!(chained, [long, short].concat());
    for wrong in [
        [Some(1.0), None],
        [Some(0.0), Some(1.0)],
        [Some(1.0), Some(-1.0)],
    ] {
        let problem = of(wrong).unwrap_err().to_string();
        assert!(problem.contains("`weight`"), "{problem}");
    }
}

#[test]
fn held_out_sources_are_taken_out_of_training() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, "train.txt", "a\nb \na\nc");
    let pair = r#"{ "prompt": "", "completion": "b" }"#;
    put(folder, "test.jsonl", pair);
    let columns =
        json!({ "prompt_completion": { "prompt": "prompt", "completion": "completion" } });
    let config = corpus(json!({
        "train": [{ "name": "train.txt", "document_separator": "\n" }],
        "held_out": [{ "name": "test.jsonl", "columns": columns }],
    }));
    let corpus = open(folder, &config).unwrap();
    let train: Vec<String> = read(corpus.train())
        .unwrap()
        .into_iter()
        .map(text)
        .collect();
    assert_eq!(train, ["a", "a", "c"]);
    let counts = corpus.train().count().unwrap();
    assert_eq!(
        (counts.documents, counts.duplicates, counts.also_held_out),
        (3, 1, 1)
    );
    assert_eq!(corpus.held_out().count().unwrap().documents, 1);
}

#[test]
fn one_document_can_not_be_split() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.txt", "only one");
    let config = CorpusConfig::new([SourceConfig::new("a.txt")]);
    let corpus = open(folder.path(), &config).unwrap();
    let sides = [read(corpus.train()), read(corpus.held_out())];
    let problem = sides.into_iter().find_map(Result::err).unwrap().to_string();
    assert!(problem.contains("no document is"), "{problem}");
}

#[test]
fn the_identity_is_that_of_the_documents() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, "a.txt", "a\nb");
    put(folder, "b.txt", "a\nb");
    put(folder, "c.txt", "a\nc");
    let of = |config: &CorpusConfig| open(folder, config).unwrap().train().identity().unwrap();
    let config = |source| corpus(json!({ "train": [source], "held_out_fraction": 0.5 }));
    let first = config(json!({ "name": "a.txt" }));
    assert_eq!(of(&first), of(&config(json!({ "name": "b.txt" }))));
    let held_out = open(folder, &first).unwrap().held_out().identity().unwrap();
    let mut others = vec![of(&first), held_out];
    for other in [
        config(json!({ "name": "c.txt" })),
        config(json!({ "name": "a.txt", "document_separator": "\n" })),
        config(json!({ "name": "a.txt", "split": "train[:1]" })),
        source(json!({ "name": "a.txt" })),
        corpus(json!({ "train": [{ "name": "a.txt" }], "held_out": [{ "name": "c.txt" }] })),
        corpus(json!({ "train": [{ "name": "a.txt" }], "held_out_fraction": 0.5, "seed": 1 })),
    ] {
        others.push(of(&other));
    }
    let different: HashSet<_> = others.iter().collect();
    assert_eq!(different.len(), others.len());
}

proptest! {
    #[test]
    fn nothing_is_on_both_sides(
        numbers in prop::collection::vec((0u8..30, "[ \n]{0,2}"), 1..80), percent in 0u8..100,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<String> =
            numbers.iter().map(|(number, space)| format!("{space}text {number}{space}")).collect();
        put(folder.path(), "a.jsonl", lines(&rows));
        let config = corpus(json!({
            "train": [{ "name": "a.jsonl" }], "held_out_fraction": f64::from(percent) / 100.0,
        }));
        let corpus = open(folder.path(), &config).unwrap();
        // An empty side is an error, which says so.
        let side = |side: CorpusSide<'_>| {
            let counts = side.count().unwrap_or_default();
            (read(side).unwrap_or_default().into_iter().map(text).collect::<Vec<_>>(), counts)
        };
        let ((train, trained), (held_out, held)) = (side(corpus.train()), side(corpus.held_out()));
        let distinct = |texts: &[String]| -> HashSet<String> {
            texts.iter().map(|text| text.trim().to_owned()).collect()
        };
        prop_assert!(distinct(&train).is_disjoint(&distinct(&held_out)));
        for (texts, counts) in [(&train, trained), (&held_out, held)] {
            prop_assert_eq!(counts.documents, texts.len() as u64);
            prop_assert_eq!(counts.duplicates, (texts.len() - distinct(texts).len()) as u64);
        }
        let mut both = [train, held_out].concat();
        let mut all = rows;
        both.sort();
        all.sort();
        prop_assert_eq!(both, all);
    }
}
