//! A token cache among processes: killed at any moment, and wanted by two at once. The test is its
//! own child: it is run again with the cache's folder in a variable.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![cfg(unix)]

use distily_data::{
    ContentHash, DataError, DocumentEncoder, DocumentIterator, DocumentSource, TextTokenizer,
    TokenCache,
};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const FOLDER: &str = "DISTILY_TEST_CACHE";

/// Four megabytes of words, which notes in a file that it is read.
struct Words(PathBuf);

impl DocumentSource for Words {
    fn identity(&self) -> Result<ContentHash, DataError> {
        Ok(ContentHash::of("words", [b""]))
    }
    fn documents(&self) -> Result<DocumentIterator<'_>, DataError> {
        let note = File::options()
            .create(true)
            .append(true)
            .open(self.0.join("reads"));
        note.unwrap().write_all(b".").unwrap();
        let text = |i: usize| format!("w{} w{} w{} ", i % 10, i % 7, i % 3).repeat(300);
        Ok(Box::new((0..1500).map(move |i| Ok(text(i).into()))))
    }
}

/// What a child does: wants the entry.
fn write(folder: &Path) -> ContentHash {
    let words: Vec<String> = (0..10).map(|id| format!(r#""w{id}": {id}"#)).collect();
    let json = format!(
        r#"{{ "model": {{ "type": "WordLevel", "unk_token": "w0", "vocab": {{ {} }} }},
            "pre_tokenizer": {{ "type": "Whitespace" }} }}"#,
        words.join(", ")
    );
    let tokenizer = TextTokenizer::from_bytes(json.as_bytes(), Path::new("words")).unwrap();
    let cache = TokenCache::new(folder.join("cache"));
    let words = Words(folder.to_owned());
    cache
        .tokens(&words, &DocumentEncoder::new(tokenizer))
        .unwrap()
        .key()
}

/// This test again, as another process.
fn child(test: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--include-ignored", "--quiet"])
        .env(FOLDER, folder)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

fn files(folder: &Path, key: ContentHash) -> Vec<(PathBuf, Vec<u8>)> {
    let entry = folder.join("cache").join(key.to_string());
    let mut files: Vec<_> = fs::read_dir(entry)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|file| (file.file_name().unwrap().into(), fs::read(file).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn two_processes_want_the_same_and_one_writes() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        write(Path::new(&folder));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let test = "two_processes_want_the_same_and_one_writes";
    let children = [0, 1, 2].map(|_| child(test, folder.path()));
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(fs::read(folder.path().join("reads")).unwrap(), b".");
    let key = write(folder.path());
    assert!(
        TokenCache::new(folder.path().join("cache"))
            .verify(key)
            .unwrap()
    );
}

#[test]
#[ignore = "takes a minute: 50 kills"]
fn killed_at_any_moment_the_next_run_completes() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        write(Path::new(&folder));
        return;
    }
    let test = "killed_at_any_moment_the_next_run_completes";
    let reference = tempfile::tempdir().unwrap();
    let start = Instant::now();
    assert!(child(test, reference.path()).wait().unwrap().success());
    let whole = start.elapsed();
    let key = write(reference.path());
    let expected = files(reference.path(), key);

    let mut generator = distily_core::Seed(1).generator("kills", 0);
    let (mut writing, mut whole_already) = (0, 0);
    for _ in 0..50 {
        let folder = tempfile::tempdir().unwrap();
        let mut killed = child(test, folder.path());
        let share = f64::from(rand::Rng::next_u32(&mut generator)) / f64::from(u32::MAX);
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
        killed.kill().unwrap();
        killed.wait().unwrap();
        let cache = folder.path().join("cache");
        writing += usize::from(cache.join(format!(".partial-{key}")).exists());
        whole_already += usize::from(cache.join(key.to_string()).exists());
        assert!(child(test, folder.path()).wait().unwrap().success());
        assert_eq!(files(folder.path(), key), expected);
        assert!(!cache.join(format!(".partial-{key}")).exists());
    }
    println!("of 50 kills {writing} met a half-written entry, {whole_already} a whole one");
    assert!(writing >= 20, "{writing} kills while it was written");
}
