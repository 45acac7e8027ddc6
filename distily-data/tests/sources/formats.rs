//! Every format, plain and compressed.

use super::*;
use distily_data::Message;
use serde_json::json;

#[test]
fn all_formats_give_the_same_documents() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let expected = stories(40);
    let table = |delimiter: &str| -> String {
        let rows = expected
            .iter()
            .map(|text| format!("1{delimiter}\"{text}\"\n"));
        format!("n{delimiter}text\n{}", rows.collect::<String>())
    };
    let formats = [
        ("jsonl", lines(&expected)),
        ("json", lines(&expected)),
        ("csv", table(",")),
        ("tsv", table("\t")),
        ("txt", expected.join("\n\n")),
    ];
    for (ending, content) in formats {
        for compression in ["", ".gz", ".zst"] {
            let name = format!("a.{ending}{compression}");
            put(folder, &name, &content);
            let mut config = json!({ "name": name });
            if ending == "txt" {
                config["document_separator"] = "\n\n".into();
            }
            assert_eq!(texts(folder, config).unwrap(), expected, "{name}");
            // Of Windows.
            let content = format!("\u{feff}{}", content.replace('\n', "\r\n"));
            put(folder, &name, content);
            let mut config = json!({ "name": name });
            if ending == "txt" {
                config["document_separator"] = "\n\n".into();
            }
            assert_eq!(texts(folder, config).unwrap(), expected, "{name}");
        }
    }
    let rows: Vec<_> = expected.iter().map(|text| Some(text.as_bytes())).collect();
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(Default::default()),
    ] {
        put(folder, "a.parquet", parquet(&rows, compression));
        let documents = texts(folder, json!({ "name": "a.parquet" })).unwrap();
        assert_eq!(documents, expected, "{compression:?}");
    }
}

#[test]
fn a_compressed_file_may_have_several_parts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for ending in ["gz", "zst"] {
        let mut both = Vec::new();
        for part in ["a\n", "b\n"] {
            let name = format!("part.txt.{ending}");
            put(folder, &name, part);
            both.extend(fs::read(folder.join(name)).unwrap());
        }
        let name = format!("both.txt.{ending}");
        fs::write(folder.join(&name), both).unwrap();
        let config = json!({ "name": name, "document_separator": "\n" });
        assert_eq!(texts(folder, config).unwrap(), ["a", "b"]);
    }
}

#[test]
fn parquet_of_pyarrow() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let of = |columns: serde_json::Value| {
        let config = json!({ "name": "conversations.parquet", "columns": columns });
        read(open(&folder, &source(config)).unwrap().train()).unwrap()
    };
    let chat = of(json!({ "chat": { "messages": "messages" } }));
    let pairs = of(json!({ "prompt_completion": { "prompt": "topic", "completion": "text" } }));
    assert_eq!((chat.len(), pairs.len()), (25, 25));
    for (i, (chat, pair)) in chat.into_iter().zip(pairs).enumerate() {
        let turns = vec![
            Message::new("user", format!("question {i}")),
            Message::new("assistant", format!("answer {i} é")),
        ];
        assert_eq!(chat, Document::Chat(turns));
        let (prompt, completion) = (format!("topic {}", i % 3), format!("text {i}"));
        assert_eq!(pair, Document::PromptCompletion { prompt, completion });
    }
}

#[test]
fn conversations_may_have_other_names() {
    let folder = tempfile::tempdir().unwrap();
    let turns = r#"[{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}, {"from": "tool", "value": "t"}]"#;
    put(
        folder.path(),
        "a.jsonl",
        format!("{{\"conversations\": {turns}}}"),
    );
    let columns =
        json!({ "chat": { "messages": "conversations", "role": "from", "content": "value" } });
    let config = source(json!({ "name": "a.jsonl", "columns": columns }));
    let documents = read(open(folder.path(), &config).unwrap().train()).unwrap();
    let turns = [("user", "q"), ("assistant", "a"), ("tool", "t")];
    let turns = turns.map(|(role, text)| Message::new(role, text)).to_vec();
    assert_eq!(documents, [Document::Chat(turns)]);
}
