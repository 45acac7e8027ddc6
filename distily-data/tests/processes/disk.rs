//! Disks that are full or read-only, as root meets them too: in a mount namespace of their own, where
//! the machine has such; elsewhere these tests say that they were skipped.

use super::*;
use distily_data::{Recorder, RecordingError, TokenCache};
use std::fs;
use std::io::ErrorKind;

/// Runs a test as a child that finds at its folder what a shell command mounts at `$0`.
fn with_mount(test: &str, folder: &Path, mount: &str) {
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--mount", "sh", "-c"]);
        unshare
    };
    let probe = unshare().arg(mount).arg(folder).status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("skipped: there are no mount namespaces here (`unshare`, `{mount}`)");
        return;
    }
    let mut command = unshare();
    command.arg(format!("{mount} && exec \"$@\"")).arg(folder);
    command.arg(std::env::current_exe().unwrap());
    assert!(passes(as_child(&mut command, test, folder)));
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The kind and the file of the system's error.
fn of_cache(problem: DataError) -> (ErrorKind, PathBuf) {
    match problem {
        DataError::Io { file, source } => (source.kind(), file),
        other => panic!("{other}"),
    }
}

fn of_recording(problem: RecordingError) -> (ErrorKind, PathBuf) {
    match problem {
        RecordingError::Io { file, source } => (source.kind(), file),
        other => panic!("{other}"),
    }
}

#[test]
fn an_entry_for_which_there_is_no_space_is_not_there() {
    if let Some(folder) = given_folder() {
        let cache = TokenCache::new(&folder);
        // 1.8 MB of ids, the first of which fit.
        let (kind, file) = of_cache(cache.tokens(&Words(500), &encoder()).unwrap_err());
        assert_eq!(kind, ErrorKind::StorageFull);
        assert!(file.ends_with("ids.bin"), "{file:?}");
        assert_eq!(names(&folder), [".locks"]);
        // Another one has the space.
        let key = cache.tokens(&Words(100), &encoder()).unwrap().key();
        assert!(cache.verify(key).unwrap());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let test = "disk::an_entry_for_which_there_is_no_space_is_not_there";
    let mount = "mount -t tmpfs -o size=1200k tmpfs \"$0\"";
    with_mount(test, folder.path(), mount);
}

#[test]
fn a_recording_for_which_there_is_no_space_keeps_its_shards() {
    if let Some(folder) = given_folder() {
        let record = |until: u64| {
            let mut recorder = Recorder::open(&folder, recording::config())?;
            while recorder.rows() < until {
                let (batch, known) = recording::row(recorder.rows());
                recorder.record_likely(&batch, &known)?;
            }
            recorder.finish()
        };
        let (kind, file) = of_recording(record(40).unwrap_err());
        assert_eq!(kind, ErrorKind::StorageFull);
        assert!(file.ends_with("shard-00001.safetensors"), "{file:?}");
        let left = [".lock", "manifest.json", "shard-00000.safetensors"];
        assert_eq!(names(&folder), left);
        let kept = recording::open(&folder);
        kept.verify().unwrap();
        // A shorter one has the space.
        let rows = kept.rows() as u64 + 2;
        record(rows).unwrap();
        assert_eq!(recording::open(&folder).rows() as u64, rows);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let test = "disk::a_recording_for_which_there_is_no_space_keeps_its_shards";
    let mount = "mount -t tmpfs -o size=20m tmpfs \"$0\"";
    with_mount(test, folder.path(), mount);
}

#[test]
fn what_is_read_only_is_read_and_not_written() {
    if let Some(folder) = given_folder() {
        let cache = TokenCache::new(folder.join("cache"));
        assert_eq!(cache.tokens(&Words(1), &encoder()).unwrap().len(), 900);
        let (kind, file) = of_cache(cache.tokens(&Words(2), &encoder()).unwrap_err());
        assert_eq!(kind, ErrorKind::ReadOnlyFilesystem);
        assert!(file.starts_with(folder.join("cache")), "{file:?}");
        let recorded = folder.join("recording");
        assert_eq!(recording::open(&recorded).rows(), 1);
        let (kind, _) = of_recording(Recorder::open(recorded, recording::config()).unwrap_err());
        assert_eq!(kind, ErrorKind::ReadOnlyFilesystem);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = TokenCache::new(folder.path().join("cache"));
    cache.tokens(&Words(1), &encoder()).unwrap();
    let (batch, known) = recording::row(0);
    let recorded = folder.path().join("recording");
    let mut recorder = Recorder::open(recorded, recording::config()).unwrap();
    recorder.record_likely(&batch, &known).unwrap();
    recorder.finish().unwrap();
    drop(recorder);
    let test = "disk::what_is_read_only_is_read_and_not_written";
    let mount = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
    with_mount(test, folder.path(), mount);
}
