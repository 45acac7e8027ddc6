#![no_main]
//! Entries of a token cache: the content of the manifest, a byte of 0, and the three files one after
//! the other. Hashes are made to fit, so that what they guard is read.

use distily_data::{
    ContentHash, DataError, Document, DocumentEncoder, Packing, TextTokenizer, TokenCache,
    TokenRows,
};
use distily_fuzz::{begin_with, content, folder, halves, replaced, sealed};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Each file, and the word for its hash.
const FILES: [(&str, &str); 3] = [
    ("ids", "HASH-OF-IDS"),
    ("lengths", "HASH-OF-LENGTHS"),
    ("loss_mask", "HASH-OF-MASK"),
];
const KEY: &str = "KEY-OF-ENTRY";

fn key() -> ContentHash {
    ContentHash::of("fuzz", ["entry"])
}

fn input(last: u32, documents: &[Document]) -> Vec<u8> {
    let tokenizer = format!(
        r#"{{ "model": {{ "type": "WordLevel", "unk_token": "?", "vocab": {{ "?": 0, "a": 1, "b": {last} }} }},
            "pre_tokenizer": {{ "type": "Whitespace" }} }}"#
    );
    let tokenizer = TextTokenizer::from_bytes(tokenizer.as_bytes(), Path::new("words"));
    let encoder = DocumentEncoder::new(tokenizer.expect("a tokenizer"));
    let cache = tempfile::tempdir().expect("a folder");
    let tokens = TokenCache::new(cache.path()).tokens(documents, &encoder);
    let key = tokens.expect("an entry").key().to_string();
    let entry = cache.path().join(&key);
    let text = content(&entry.join("manifest.json"));
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    let (mut words, mut rest) = (vec![(key.as_str(), KEY.to_owned())], Vec::new());
    for (name, word) in FILES {
        if let Some(hash) = manifest[name]["hashes"][0].as_str() {
            words.push((hash, word.to_owned()));
            rest.extend(fs::read(entry.join(format!("{name}.bin"))).expect("a file"));
        }
    }
    [replaced(text.as_bytes(), &words), vec![0], rest].concat()
}

fn inputs() -> Vec<Vec<u8>> {
    let pair = Document::PromptCompletion {
        prompt: "a b a".to_owned(),
        completion: "b b".to_owned(),
    };
    let texts = ["a b", "", "b a b b"].map(|text| Document::Text(text.to_owned()));
    vec![
        input(2, &texts),
        input(70_000, &texts),
        input(2, &[texts.as_slice(), &[pair]].concat()),
    ]
}

fn read(cache: &TokenCache) -> Result<(), DataError> {
    cache.verify(key())?;
    let tokens = Arc::new(cache.open(key())?.expect("it is there"));
    for packing in [Packing::Wrapped, Packing::BestFit, Packing::Padded] {
        let rows = TokenRows::pack(tokens.clone(), packing, 4)?;
        for batch in rows.in_order(3) {
            std::hint::black_box(batch?);
        }
    }
    Ok(())
}

fuzz_target!(init: begin_with("token_cache", inputs()), |input: &[u8]| {
    let (text, mut rest) = halves(input);
    let entry = folder().join(key().to_string());
    fs::create_dir_all(&entry).expect("a folder");
    let manifest: Value = serde_json::from_slice(text).unwrap_or_default();
    let mut words = vec![(KEY, key().to_string())];
    for (name, word) in FILES {
        let bytes = manifest[name]["bytes"].as_u64().unwrap_or(0);
        let (file, others) = rest.split_at(rest.len().min(bytes as usize));
        rest = others;
        fs::write(entry.join(format!("{name}.bin")), file).expect("a file");
        words.push((word, blake3::hash(file).to_string()));
    }
    let manifest = sealed(&replaced(text, &words));
    fs::write(entry.join("manifest.json"), manifest).expect("a file");
    let cache = TokenCache::new(folder());
    if let Err(problem) = read(&cache) {
        std::hint::black_box(problem.to_string());
    }
    std::hint::black_box(cache.entries().expect("a folder of entries"));
});
