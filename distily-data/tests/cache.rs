//! What a token cache promises: the same tokens as in memory, written once and whole, and an error
//! for any byte that is not as it was written.
#![allow(clippy::unwrap_used)]

use distily_core::Seed;
use distily_data::{
    ContentHash, DataError, Document, DocumentEncoder, DocumentIterator, DocumentSource, Packing,
    TextTokenizer, TokenCache, TokenRows, Tokens,
};
use proptest::prelude::*;
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A tokenizer of the words `w0`, `w1`, …, `w9`, and one more with the id `last`.
fn encoder(last: u32) -> DocumentEncoder {
    let words: Vec<String> = (0..10).map(|id| format!(r#""w{id}": {id}"#)).collect();
    let json = format!(
        r#"{{ "model": {{ "type": "WordLevel", "unk_token": "w0",
            "vocab": {{ {}, "last": {last} }} }}, "pre_tokenizer": {{ "type": "Whitespace" }} }}"#,
        words.join(", ")
    );
    DocumentEncoder::new(TextTokenizer::from_bytes(json.as_bytes(), Path::new("words")).unwrap())
}

/// Texts of words, some with a prompt.
fn documents(count: usize) -> Vec<Document> {
    let text = |from: usize, to: usize| -> String {
        (from..to)
            .map(|word| format!("w{} ", (word * word + from) % 10))
            .collect()
    };
    (0..count)
        .map(|i| match i % 3 {
            0 => Document::PromptCompletion {
                prompt: text(i, i + i % 7),
                completion: text(i, i + 4) + "last",
            },
            _ => Document::Text(text(i, i + i % 11)),
        })
        .collect()
}

/// All that is in the rows.
fn content(tokens: Tokens) -> Result<String, DataError> {
    let rows = TokenRows::pack(tokens, Packing::BestFit, 16)?;
    let batches: Vec<_> = rows.in_order(3).collect::<Result<_, _>>()?;
    Ok(format!("{batches:?}"))
}

/// The files below a folder with their content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn cached_tokens_are_those_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let cache = TokenCache::new(folder.path());
    for (last, bytes) in [(10, 2), (65_535, 2), (65_536, 4)] {
        let mut encoder = encoder(last);
        encoder.begin_of_text = Some(1);
        encoder.end_of_text = Some(last);
        for source in [
            documents(100),
            documents(1),
            vec![Document::Text("w1 w2".to_owned())],
        ] {
            let memory = encoder.tokens(source.as_slice()).unwrap();
            let cached = cache.tokens(source.as_slice(), &encoder).unwrap();
            assert_eq!(memory.key(), cached.key());
            assert_eq!(memory.document_lengths(), cached.document_lengths());
            let ids = folder.path().join(cached.key().to_string()).join("ids.bin");
            assert_eq!(ids.metadata().unwrap().len(), cached.len() * bytes);
            assert_eq!(content(memory).unwrap(), content(cached).unwrap());
        }
    }
}

/// Counts how often its documents are read.
struct Counted(Vec<Document>, Cell<usize>);

impl DocumentSource for Counted {
    fn identity(&self) -> Result<ContentHash, DataError> {
        self.0.as_slice().identity()
    }
    fn documents(&self) -> Result<DocumentIterator<'_>, DataError> {
        self.1.set(self.1.get() + 1);
        Ok(Box::new(self.0.iter().cloned().map(Ok)))
    }
}

#[test]
fn the_second_run_neither_reads_nor_writes() {
    let folder = tempfile::tempdir().unwrap();
    let cache = TokenCache::new(folder.path());
    let source = Counted(documents(50), Cell::new(0));
    cache.tokens(&source, &encoder(10)).unwrap();
    let written = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = files(folder.path());
    let times: Vec<_> = before.iter().map(|(path, _)| written(path)).collect();
    for _ in 0..3 {
        cache.tokens(&source, &encoder(10)).unwrap();
    }
    assert_eq!(source.1.get(), 1);
    assert_eq!(files(folder.path()), before);
    assert!(before.iter().map(|(path, _)| written(path)).eq(times));
}

#[test]
fn what_makes_other_tokens_is_another_entry() {
    let folder = tempfile::tempdir().unwrap();
    let cache = TokenCache::new(folder.path());
    let source = documents(20);
    let mut with_end = encoder(10);
    with_end.end_of_text = Some(3);
    let mut with_begin = encoder(10);
    with_begin.begin_of_text = Some(3);
    let entries = [
        cache.tokens(source.as_slice(), &encoder(10)).unwrap(),
        cache.tokens(source.as_slice(), &encoder(11)).unwrap(),
        cache.tokens(source.as_slice(), &with_end).unwrap(),
        cache.tokens(source.as_slice(), &with_begin).unwrap(),
        cache.tokens(&source[..19], &encoder(10)).unwrap(),
    ];
    let listed = cache.entries().unwrap();
    assert_eq!(listed.len(), entries.len());
    for entry in listed {
        assert!(entries.iter().any(|tokens| tokens.key() == entry.key));
        assert!(cache.verify(entry.key).unwrap());
    }
    let kept = entries[2].key();
    let bytes = |cache: &TokenCache| -> u64 {
        cache
            .entries()
            .unwrap()
            .iter()
            .map(|entry| entry.bytes)
            .sum()
    };
    let before = bytes(&cache);
    fs::create_dir(folder.path().join(format!(".partial-{kept}"))).unwrap();
    let freed = cache.gc(&[kept]).unwrap();
    assert_eq!(before - freed, bytes(&cache));
    assert_eq!(cache.entries().unwrap()[0].key, kept);
    assert!(!cache.verify(entries[0].key()).unwrap());
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "the entry and the locks");
    // What was opened before stays readable (where files can be removed while they are open).
    #[cfg(unix)]
    content(entries.into_iter().next().unwrap()).unwrap();
}

#[test]
fn a_source_that_fails_leaves_nothing() {
    struct Failing;
    impl DocumentSource for Failing {
        fn identity(&self) -> Result<ContentHash, DataError> {
            Ok(ContentHash::of("failing", [b""]))
        }
        fn documents(&self) -> Result<DocumentIterator<'_>, DataError> {
            let good = documents(10).into_iter().map(Ok);
            Ok(Box::new(good.chain([Err(
                "no hash".parse::<ContentHash>().unwrap_err(),
            )])))
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = TokenCache::new(folder.path());
    let problem = cache.tokens(&Failing, &encoder(10)).unwrap_err();
    assert!(problem.to_string().contains("no hash"), "{problem}");
    assert!(
        files(folder.path())
            .iter()
            .all(|(_, bytes)| bytes.is_empty()),
        "locks are empty"
    );
}

#[test]
fn a_file_in_the_place_of_the_cache_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let cache = TokenCache::new(file.path());
    let problem = cache.tokens(documents(9).as_slice(), &encoder(10));
    let problem = problem.unwrap_err().to_string();
    assert!(
        problem.starts_with(file.path().to_str().unwrap()),
        "{problem}"
    );
}

/// What `open` and `verify` and all rows say of an entry, which has to be the same.
fn problem_of(cache: &TokenCache, key: ContentHash) -> Option<String> {
    let read = cache.open(key).and_then(|tokens| content(tokens.unwrap()));
    let verified = cache.verify(key);
    assert_eq!(read.is_err(), verified.is_err());
    verified.err().map(|problem| problem.to_string())
}

fn entry(folder: &Path) -> (TokenCache, ContentHash, Vec<(PathBuf, Vec<u8>)>) {
    let cache = TokenCache::new(folder);
    let key = cache
        .tokens(documents(60).as_slice(), &encoder(10))
        .unwrap()
        .key();
    let files = files(&folder.join(key.to_string()));
    assert_eq!(files.len(), 4);
    (cache, key, files)
}

#[test]
fn each_of_1000_flipped_bits_of_each_file_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, key, files) = entry(folder.path());
    assert_eq!(problem_of(&cache, key), None);
    let mut generator = Seed(1).generator("flips", 0);
    for (path, whole) in &files {
        for _ in 0..1000 {
            let bit = rand::Rng::next_u64(&mut generator) as usize % (8 * whole.len());
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(path, &flipped).unwrap();
            let problem =
                problem_of(&cache, key).unwrap_or_else(|| panic!("bit {bit} of {path:?}"));
            assert!(problem.starts_with(path.to_str().unwrap()), "{problem}");
        }
        fs::write(path, whole).unwrap();
    }
    assert_eq!(problem_of(&cache, key), None);
}

#[test]
fn a_file_of_another_length_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, key, files) = entry(folder.path());
    for (path, whole) in &files {
        let more = [whole.as_slice(), &[0, 0, 0, 0]].concat();
        for length in [0, 1, whole.len() / 2, whole.len() - 1, more.len()] {
            fs::write(path, &more[..length]).unwrap();
            let problem = problem_of(&cache, key).unwrap();
            assert!(problem.starts_with(path.to_str().unwrap()), "{problem}");
        }
        fs::remove_file(path).unwrap();
        let problem = problem_of(&cache, key).unwrap();
        assert!(problem.starts_with(path.to_str().unwrap()), "{problem}");
        fs::write(path, whole).unwrap();
    }
}

#[test]
fn the_place_of_the_damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let cache = TokenCache::new(folder.path());
    // More than a MiB of ids.
    let words = "w1 w2 w3 w4 w5 w6 w7 w8 w9 last ".repeat(60_000);
    let tokens = cache.tokens([words].as_slice(), &encoder(10)).unwrap();
    let path = folder.path().join(tokens.key().to_string()).join("ids.bin");
    let mut ids = fs::read(&path).unwrap();
    ids[1_150_000] ^= 1;
    fs::write(&path, ids).unwrap();
    let problem = cache.verify(tokens.key()).unwrap_err().to_string();
    assert!(
        problem.contains("bytes 1048576 to 1200000 have another hash"),
        "{problem}"
    );
    // Rows elsewhere can be read; those that lie there can not.
    let tokens = Arc::new(cache.open(tokens.key()).unwrap().unwrap());
    let rows = TokenRows::pack(tokens, Packing::Wrapped, 1000).unwrap();
    let sound = rows.in_order(1).take_while(Result::is_ok).count();
    assert_eq!(sound, 524, "the rows of the first 2^19 tokens");
}

#[test]
fn an_entry_of_another_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, key, _) = entry(folder.path());
    let other = ContentHash::of("other", [b""]);
    let path = |key: ContentHash| folder.path().join(key.to_string());
    fs::rename(path(key), path(other)).unwrap();
    let problem = cache.verify(other).unwrap_err().to_string();
    assert!(problem.contains(&key.to_string()), "{problem}");
    assert!(cache.open(key).unwrap().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_manifest_is_an_error_or_the_right_one(edit in any::<(usize, u8)>()) {
        let folder = tempfile::tempdir().unwrap();
        let (cache, key, files) = entry(folder.path());
        let (path, text) = files.iter().find(|(path, _)| path.ends_with("manifest.json")).unwrap();
        let mut edited = text.clone();
        edited[edit.0 % text.len()] = edit.1;
        fs::write(path, &edited).unwrap();
        prop_assert_eq!(problem_of(&cache, key).is_none(), &edited == text);
    }
}
