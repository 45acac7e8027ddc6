//! Corpora of files, folders and a hub on this machine.

#![allow(clippy::unwrap_used)]

mod corpora;
mod damage;
mod formats;
mod hub;
// That of the hub's own tests, which use more of it.
#[allow(dead_code)]
#[path = "../../../distily-hub/tests/hub/server.rs"]
mod server;

use distily_data::{
    Corpus, CorpusConfig, CorpusSide, DataError, Document, DocumentSource, SourceConfig,
};
use distily_hub::Hub;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Writes a file, compressed as its name says.
fn put(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let (file, content) = (folder.join(name), content.as_ref());
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let bytes = match name.rsplit_once('.').unwrap().1 {
        "gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        "zst" => zstd::encode_all(content, 0).unwrap(),
        _ => content.to_owned(),
    };
    fs::write(file, bytes).unwrap();
}

/// A file with a number, `n`, and a text, which may be null or no text at all.
fn parquet(texts: &[Option<&[u8]>], compression: Compression) -> Vec<u8> {
    let schema = "message schema { required int64 n; optional binary text (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(compression);
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties.build())).unwrap();
    for texts in texts.chunks(7) {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let numbers: Vec<i64> = (0..texts.len() as i64).collect();
        let typed = column.typed::<Int64Type>();
        typed.write_batch(&numbers, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let there: Vec<ByteArray> = texts
            .iter()
            .flatten()
            .map(|text| ByteArray::from(text.to_vec()))
            .collect();
        let levels: Vec<i16> = texts.iter().map(|text| i16::from(text.is_some())).collect();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&there, Some(&levels), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

/// A source as a config says it; without a share that is held out.
fn source(config: serde_json::Value) -> CorpusConfig {
    corpus(serde_json::json!({ "train": [config], "held_out_fraction": 0 }))
}

fn corpus(config: serde_json::Value) -> CorpusConfig {
    serde_json::from_value(config).unwrap()
}

fn open(folder: &Path, config: &CorpusConfig) -> Result<Corpus, DataError> {
    config.open(&Hub::new(folder.join("no cache")).offline(true), folder)
}

fn read(side: CorpusSide<'_>) -> Result<Vec<Document>, DataError> {
    side.documents()?.collect()
}

/// The training documents of one source, all of them texts.
fn texts(folder: &Path, config: serde_json::Value) -> Result<Vec<String>, DataError> {
    let documents = read(open(folder, &source(config))?.train())?;
    Ok(documents.into_iter().map(text).collect())
}

fn text(document: Document) -> String {
    match document {
        Document::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// Why there are none.
fn error(folder: &Path, config: serde_json::Value) -> String {
    texts(folder, config).unwrap_err().to_string()
}

/// So many texts, none like another.
fn stories(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("story {i}, é")).collect()
}

fn lines(texts: &[String]) -> String {
    let line = |text| format!("{}\n", serde_json::json!({ "n": 1, "text": text }));
    texts.iter().map(line).collect()
}

#[test]
fn a_word_that_is_no_setting_is_refused() {
    for config in [
        r#"{ "train": [{ "name": "a.txt", "colums": {} }] }"#,
        r#"{ "train": [], "held": [] }"#,
        r#"{ "train": [{ "name": "a.txt", "columns": { "chat": { "message": "m" } } }] }"#,
        r#"{ "train": [{ "name": "a.txt", "split": "train[:1.5%]" }] }"#,
    ] {
        assert!(
            serde_json::from_str::<CorpusConfig>(config).is_err(),
            "{config}"
        );
    }
    let config = CorpusConfig::new([SourceConfig::new("a.txt")]);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<CorpusConfig>(&text).unwrap(), config);
}
