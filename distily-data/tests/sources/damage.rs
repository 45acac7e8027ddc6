//! What is wrong names the file, the row and what to do.

use super::*;
use serde_json::json;

fn told(problem: &str, parts: &[&str]) {
    for part in parts {
        assert!(problem.contains(part), "{part:?} in {problem}");
    }
}

#[test]
fn a_column_that_is_not_there_is_told_by_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, "a.jsonl", "{\"story\": \"a\", \"id\": 1}\n");
    put(folder, "a.csv", "id,story\n1,a\n");
    put(
        folder,
        "a.parquet",
        parquet(&[Some(b"a")], Compression::SNAPPY),
    );
    put(
        folder,
        "b.jsonl",
        "{\"story\": \"a\", \"id\": 1}\n{\"story\": \"b\", \"id\": 2}\n",
    );
    for (name, split) in [
        ("a.jsonl", "train"),
        ("a.csv", "train"),
        // Also where the first row is not taken.
        ("b.jsonl", "train[1:]"),
    ] {
        let problem = error(folder, json!({ "name": name, "split": split }));
        told(
            &problem,
            &[name, "no column `text`", "`id`", "`story`", "`columns`"],
        );
    }
    let columns = json!({ "text": "story" });
    let problem = error(folder, json!({ "name": "a.parquet", "columns": columns }));
    told(
        &problem,
        &["a.parquet: has no column `story`; it has `n`, `text`"],
    );
}

#[test]
fn what_is_not_utf8_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, "a.txt", b"ok\nabc\xff\n");
    put(
        folder,
        "a.jsonl",
        b"{\"text\": \"ok\"}\n{\"text\": \"\xff\"}\n",
    );
    put(folder, "a.csv", b"text\nok\nabc\xff\n");
    let rows = [Some(b"ok".as_slice()), Some(b"abc\xff")];
    put(folder, "a.parquet", parquet(&rows, Compression::SNAPPY));
    for name in ["a.txt", "a.jsonl", "a.csv", "a.parquet"] {
        let mut config = json!({ "name": name });
        if name == "a.txt" {
            config["document_separator"] = "\n".into();
        }
        let problem = error(folder, config).to_lowercase();
        told(&problem, &[&format!("{name}, row 2: "), "utf", "convert"]);
    }
}

#[test]
fn null_is_refused_or_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(
        folder,
        "a.jsonl",
        "{\"text\": \"a\"}\n{\"text\": null}\n{\"text\": \"b\"}\n",
    );
    // A later line may leave out what is null.
    put(
        folder,
        "b.jsonl",
        "{\"text\": \"a\"}\n{\"other\": 1}\n{\"text\": \"b\"}\n",
    );
    let rows = [Some(b"a".as_slice()), None, Some(b"b")];
    put(folder, "a.parquet", parquet(&rows, Compression::SNAPPY));
    for name in ["a.jsonl", "b.jsonl", "a.parquet"] {
        let problem = error(folder, json!({ "name": name }));
        told(
            &problem,
            &[&format!("{name}, row 2: `text` is null"), "skip_null"],
        );
        let config = source(json!({ "name": name, "skip_null": true }));
        let corpus = open(folder, &config).unwrap();
        let counts = corpus.train().count().unwrap();
        assert_eq!((counts.documents, counts.null), (2, 1));
    }
}

#[test]
fn a_column_of_another_kind_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(
        folder,
        "a.parquet",
        parquet(&[Some(b"a")], Compression::SNAPPY),
    );
    let columns = json!({ "text": "n" });
    let problem = error(folder, json!({ "name": "a.parquet", "columns": columns }));
    told(
        &problem,
        &[
            "a.parquet, row 1: `n` is a number, expected text",
            "`columns`",
        ],
    );
    put(
        folder,
        "a.jsonl",
        "{\"text\": [{\"role\": \"user\", \"text\": \"\"}], \"m\": [1]}",
    );
    let problem = error(folder, json!({ "name": "a.jsonl" }));
    told(
        &problem,
        &["a.jsonl, row 1: `text` is a list, expected text"],
    );
    let chat = |column: &str| json!({ "chat": { "messages": column } });
    let problem = error(
        folder,
        json!({ "name": "a.jsonl", "columns": chat("text") }),
    );
    told(
        &problem,
        &["row 1: a message of `text` has no field `content`; it has `text`"],
    );
    put(
        folder,
        "calls.jsonl",
        r#"{"m": [{"role": "user", "content": "", "tool_calls": []}, {"role": "assistant", "content": "", "tool_calls": [{"id": "a"}]}]}"#,
    );
    let calls = json!({ "name": "calls.jsonl", "columns": chat("m") });
    told(
        &error(folder, calls),
        &["row 1: a message of `m` calls tools"],
    );
    let problem = error(folder, json!({ "name": "a.jsonl", "columns": chat("m") }));
    told(
        &problem,
        &["`m` is a list of a number, expected a list of records"],
    );
}

#[test]
fn what_is_cut_short_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Text that does not compress to nothing.
    let digits = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_string();
    let text: String = (0..40_000).map(|i| digits(i) + "\n").collect();
    for ending in ["gz", "zst"] {
        let name = format!("a.txt.{ending}");
        put(folder, &name, &text);
        let whole = fs::read(folder.join(&name)).unwrap();
        let config = json!({ "name": name, "document_separator": "\n" });
        assert_eq!(texts(folder, config.clone()).unwrap().len(), 40_000);
        fs::write(folder.join(&name), &whole[..whole.len() / 2]).unwrap();
        told(
            &error(folder, config.clone()),
            &[&name, "row ", "cut short", "get it again"],
        );
        fs::write(folder.join(&name), &text).unwrap();
        told(&error(folder, config), &[&name, "wrong compression"]);
    }
    put(
        folder,
        "a.parquet",
        parquet(&[Some(b"a")], Compression::SNAPPY),
    );
    let whole = fs::read(folder.join("a.parquet")).unwrap();
    for length in [0, 3, whole.len() / 2, whole.len() - 1] {
        fs::write(folder.join("a.parquet"), &whole[..length]).unwrap();
        let problem = error(folder, json!({ "name": "a.parquet" }));
        told(&problem, &["a.parquet: not a parquet file", "get it again"]);
    }
}

#[test]
fn no_damage_to_a_parquet_file_is_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/conversations.parquet");
    let whole = fs::read(golden).unwrap();
    let columns = json!({ "chat": { "messages": "messages" } });
    let config = source(json!({ "name": "a.parquet", "columns": columns }));
    let mut refused = 0;
    for at in (0..whole.len()).step_by(5) {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            fs::write(folder.join("a.parquet"), damaged).unwrap();
            let read = open(folder, &config).and_then(|corpus| read(corpus.train()));
            refused += usize::from(read.is_err());
        }
    }
    assert!(refused > whole.len() / 5, "{refused}");
}

#[test]
fn a_dictionary_that_claims_more_than_it_holds_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut bytes = parquet(&[Some(b"a")], Compression::UNCOMPRESSED);
    // The header of a page that is a dictionary, up to its number of values (Thrift's compact protocol).
    let header =
        |b: &[u8]| [b[0], b[1], b[2], b[4], b[6], b[7]] == [0x15, 4, 0x15, 0x15, 0x4c, 0x15];
    let starts: Vec<usize> = (0..bytes.len() - 9)
        .filter(|&at| header(&bytes[at..at + 9]))
        .collect();
    assert!(!starts.is_empty());
    for start in starts {
        bytes[start + 8] = 63 << 1;
    }
    put(folder, "a.parquet", bytes);
    let problem = error(folder, json!({ "name": "a.parquet" }));
    told(&problem, &["a.parquet", "a dictionary of 63 values in"]);
}

#[test]
fn a_schema_that_claims_more_than_it_holds_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut bytes = parquet(&[Some(b"a")], Compression::UNCOMPRESSED);
    // The root, and how many children it has.
    let root = b"schema\x15\x04";
    let at = bytes.windows(8).rposition(|bytes| bytes == root).unwrap();
    bytes[at + 7] = 63 << 1;
    put(folder, "a.parquet", bytes);
    let problem = error(folder, json!({ "name": "a.parquet" }));
    told(&problem, &["a.parquet", "a group of more children"]);
}

#[test]
fn a_file_that_changes_while_it_is_used_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, "a.jsonl", lines(&stories(9)));
    let config = json!({ "train": [{ "name": "a.jsonl" }], "held_out_fraction": 0.0 });
    let corpus = open(folder, &corpus(config)).unwrap();
    assert_eq!(read(corpus.train()).unwrap().len(), 9);
    put(folder, "a.jsonl", lines(&stories(10)));
    let problem = read(corpus.train()).unwrap_err().to_string();
    told(
        &problem,
        &["a.jsonl", "changed after the corpus was opened"],
    );
}

#[test]
fn a_table_with_uneven_rows_is_told() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.csv", "text,id\na,1\nb, with, commas,2\n");
    let problem = error(folder.path(), json!({ "name": "a.csv" }));
    told(
        &problem,
        &["a.csv, row 2: has 4 cells, expected 2", "quote"],
    );
}

#[test]
fn what_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, "stories/train.jsonl", lines(&stories(1)));
    put(folder, "a.doc", "");
    put(folder, "a.txt", " \n ");
    for (config, parts) in [
        (json!({ "name": "b.txt" }), &["b.txt: "][..]),
        (
            json!({ "name": "a.doc" }),
            &["`a.doc`", "`.parquet`, `.jsonl`"],
        ),
        (
            json!({ "name": "a.txt" }),
            &["`a.txt`", "no document is left", "1 blank"],
        ),
        (
            json!({ "name": "stories", "split": "test" }),
            &["split `test`", "`train.jsonl`"],
        ),
        (
            json!({ "name": "stories", "subset": "x" }),
            &["no subset `x`"],
        ),
        (
            json!({ "name": "a.txt", "split": "test" }),
            &["its split is `train`"],
        ),
        (
            json!({ "name": "stories", "document_separator": "x" }),
            &["for plain text"],
        ),
        (
            json!({ "name": "a.txt", "document_separator": "" }),
            &["an empty string"],
        ),
        (
            json!({ "name": "me/stories" }),
            &["no file or folder `me/stories`", "HF_HUB_OFFLINE"],
        ),
        (
            json!({ "name": "no/hub/id" }),
            &["no file or folder `no/hub/id`", "is no hub id"],
        ),
    ] {
        told(&error(folder, config), parts);
    }
}
