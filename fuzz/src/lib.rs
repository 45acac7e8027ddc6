//! What the targets share: a folder of files for those who read files, and inputs to begin with.

use distily_core::Seed;
use distily_data::{CorpusConfig, DataError, DocumentSource};
use distily_hub::Hub;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;

/// The files of this process.
pub fn folder() -> &'static Path {
    static FOLDER: LazyLock<TempDir> =
        LazyLock::new(|| tempfile::tempdir().expect("a folder for files"));
    FOLDER.path()
}

/// Puts inputs into a target's corpus, for a fuzzer to begin with.
pub fn begin_with(target: &str, inputs: impl IntoIterator<Item = Vec<u8>>) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&corpus).expect("a corpus");
    for (number, input) in inputs.into_iter().enumerate() {
        fs::write(corpus.join(format!("begin-{number}")), input).expect("an input");
    }
}

/// What is said of a source, one of which each input begins with.
const SOURCES: [&str; 7] = [
    "{}",
    r#"{ "columns": { "prompt_completion": { "prompt": "p", "completion": "text" } } }"#,
    r#"{ "columns": { "chat": { "messages": "m" } } }"#,
    r#"{ "split": "train[1:3]", "max_characters": 9 }"#,
    r#"{ "split": "train[50%:]" }"#,
    r#"{ "sample": 2, "skip_null": true }"#,
    r#"{ "columns": { "text": "p" }, "min_characters": 2 }"#,
];

/// An input for [`read_documents`] of each source.
pub fn of_each_source(content: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..SOURCES.len() as u8).map(move |source| [&[source], content].concat())
}

/// Reads a file of documents, of which the first byte says how, in every way there is.
pub fn read_documents(name: &str, input: &[u8]) {
    let Some((source, content)) = input.split_first() else {
        return;
    };
    fs::write(folder().join(name), content).expect("a file");
    let source = SOURCES[usize::from(*source) % SOURCES.len()];
    let mut source: Value = serde_json::from_str(source).expect("JSON");
    source["name"] = name.into();
    if name.contains(".txt") {
        source["document_separator"] = "\n\n".into();
    }
    let corpus = json!({ "train": [source], "held_out_fraction": 0.5 });
    let config = CorpusConfig {
        seed: Seed(1),
        ..serde_json::from_value(corpus).expect("a corpus")
    };
    let read = || -> Result<(), DataError> {
        let corpus = config.open(&Hub::new(folder()).offline(true), folder())?;
        for side in [corpus.train(), corpus.held_out()] {
            for document in side.documents()? {
                std::hint::black_box(document?);
            }
            std::hint::black_box(side.count()?);
        }
        Ok(())
    };
    if let Err(problem) = read() {
        std::hint::black_box(problem.to_string());
    }
}

const START: &[u8] = b"{\n\"content\": ";
const BETWEEN: &[u8] = b",\n\"blake3\": \"";
const END: &[u8] = b"\"\n}\n";

/// A manifest with the right hash of its content, so that the content is read.
pub fn sealed(content: &[u8]) -> Vec<u8> {
    let hash = blake3::hash(content).to_hex();
    [START, content, BETWEEN, hash.as_bytes(), END].concat()
}

/// The content of a manifest.
pub fn content(manifest: &Path) -> String {
    let text = fs::read(manifest).expect("a manifest");
    let content = text.strip_prefix(START).expect("a manifest");
    let length = content.len() - BETWEEN.len() - 64 - END.len();
    String::from_utf8(content[..length].to_vec()).expect("text")
}

/// The parts of an input before and after its first byte of 0.
pub fn halves(input: &[u8]) -> (&[u8], &[u8]) {
    let at = input.iter().position(|byte| *byte == 0);
    let (content, rest) = input.split_at(at.unwrap_or(input.len()));
    (content, rest.get(1..).unwrap_or_default())
}

/// A text with some words in the place of others.
pub fn replaced(text: &[u8], words: &[(&str, String)]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(text).into_owned();
    for (from, to) in words {
        text = text.replace(from, to);
    }
    text.into_bytes()
}
