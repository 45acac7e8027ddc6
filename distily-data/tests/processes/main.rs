//! Processes that are killed at any moment, that want the same at once, and that write to a disk that
//! takes nothing. Each test is its own child: it is run again with a folder in a variable.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![cfg(unix)]

mod cache;
mod disk;
mod epoch;
mod recording;

use distily_core::Seed;
use distily_data::{
    ContentHash, DataError, DocumentEncoder, DocumentIterator, DocumentSource, TextTokenizer,
};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const FOLDER: &str = "DISTILY_TEST_FOLDER";

/// The folder that this process was given, if it is a child.
fn given_folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// A test again, as another process: put after the command of it.
fn as_child<'a>(command: &'a mut Command, test: &str, folder: &Path) -> &'a mut Command {
    command
        .args(["--exact", test, "--quiet"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
}

fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    as_child(&mut command, test, folder);
    command
}

/// Whether the one test that a child is to run was run, and passed.
fn passes(child: &mut Command) -> bool {
    let output = child.output().unwrap();
    output.status.success() && String::from_utf8_lossy(&output.stdout).contains(" 1 passed")
}

/// Runs a test as a child in a new folder, and kills it (SIGKILL) at a random moment of the time that
/// it takes; 50 times. `after` looks at what is left.
fn killed_at_any_moment(test: &str, parent: &Path, mut after: impl FnMut(&Path)) {
    let runs: Vec<Duration> = ["first", "second"]
        .map(|name| {
            let start = Instant::now();
            assert!(passes(&mut child(test, &parent.join(name))));
            start.elapsed()
        })
        .to_vec();
    let mut generator = Seed(1).generator("kills", 0);
    for kill in 0..50 {
        let folder = parent.join(kill.to_string());
        let mut child = child(test, &folder).spawn().unwrap();
        let share = f64::from(rand::Rng::next_u32(&mut generator)) / f64::from(u32::MAX);
        std::thread::sleep(runs[1].mul_f64(share));
        child.kill().unwrap();
        child.wait().unwrap();
        after(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

/// So many texts of 900 words.
struct Words(usize);

impl DocumentSource for Words {
    fn identity(&self) -> Result<ContentHash, DataError> {
        Ok(ContentHash::of("words", [self.0.to_le_bytes()]))
    }
    fn documents(&self) -> Result<DocumentIterator<'_>, DataError> {
        let text = |i: usize| format!("w{} w{} w{} ", i % 10, i % 7, i % 3).repeat(300);
        Ok(Box::new((0..self.0).map(move |i| Ok(text(i).into()))))
    }
}

/// Of these words, with ids of four bytes.
fn encoder() -> DocumentEncoder {
    let words: Vec<String> = (0..10).map(|id| format!(r#""w{id}": {id}"#)).collect();
    let json = format!(
        r#"{{ "model": {{ "type": "WordLevel", "unk_token": "w0", "vocab": {{ {}, "last": 70000 }} }},
            "pre_tokenizer": {{ "type": "Whitespace" }} }}"#,
        words.join(", ")
    );
    DocumentEncoder::new(TextTokenizer::from_bytes(json.as_bytes(), Path::new("words")).unwrap())
}
