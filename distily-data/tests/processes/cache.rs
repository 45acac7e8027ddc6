//! Token caches.

use super::*;
use distily_data::TokenCache;
use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;

/// Texts of which a file notes that they are read.
struct Noted<'a>(&'a Path);

impl DocumentSource for Noted<'_> {
    fn identity(&self) -> Result<ContentHash, DataError> {
        Words(150).identity()
    }
    fn documents(&self) -> Result<DocumentIterator<'_>, DataError> {
        let note = File::options()
            .create(true)
            .append(true)
            .open(self.0.join("reads"));
        note.unwrap().write_all(b".").unwrap();
        let documents: Vec<_> = Words(150).documents()?.collect();
        Ok(Box::new(documents.into_iter()))
    }
}

/// What a child does: wants the entry.
fn write(folder: &Path) -> ContentHash {
    fs::create_dir_all(folder).unwrap();
    let cache = TokenCache::new(folder.join("cache"));
    cache.tokens(&Noted(folder), &encoder()).unwrap().key()
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
    if let Some(folder) = given_folder() {
        write(&folder);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let test = "cache::two_processes_want_the_same_and_one_writes";
    let children = [0, 1, 2].map(|_| child(test, folder.path()).spawn().unwrap());
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(fs::read(folder.path().join("reads")).unwrap(), b".");
    let key = write(folder.path());
    let cache = TokenCache::new(folder.path().join("cache"));
    assert!(cache.verify(key).unwrap());
}

#[test]
fn killed_at_any_moment_the_next_run_completes() {
    if let Some(folder) = given_folder() {
        write(&folder);
        return;
    }
    let test = "cache::killed_at_any_moment_the_next_run_completes";
    let parent = tempfile::tempdir().unwrap();
    let whole = parent.path().join("whole");
    let key = write(&whole);
    let expected = files(&whole, key);
    let (writing, written) = (Cell::new(0), Cell::new(0));
    let count = |of: &Cell<usize>, path: PathBuf| of.set(of.get() + usize::from(path.exists()));
    killed_at_any_moment(test, parent.path(), |folder| {
        let cache = folder.join("cache");
        let partial = cache.join(format!(".partial-{key}"));
        count(&writing, partial.clone());
        count(&written, cache.join(key.to_string()));
        assert_eq!(write(folder), key);
        assert_eq!(files(folder, key), expected);
        assert!(!partial.exists());
    });
    let (writing, written) = (writing.get(), written.get());
    println!("of 50 kills {writing} met a half-written entry, {written} a whole one");
    assert!(writing >= 10, "{writing} kills while it was written");
}
