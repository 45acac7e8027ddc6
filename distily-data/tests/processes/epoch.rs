//! Runs that go through batches.

use super::*;
use distily_data::{Packing, TokenCache, TokenRows};
use std::fs::{self, File};
use std::io::Write;

const BATCHES: usize = 3000;

/// What a child does: goes on through the batches behind those that are noted, and notes the hash of
/// each.
fn go_through(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let cache = TokenCache::new(folder.parent().unwrap().join("cache"));
    let tokens = cache.tokens(&Words(100), &encoder()).unwrap();
    let batches = TokenRows::pack(tokens, Packing::BestFit, 64)
        .unwrap()
        .batches(4);
    assert!(batches.per_epoch() < BATCHES / 5, "some epochs");
    let file = folder.join("batches");
    let noted = fs::read_to_string(&file).unwrap_or_default();
    // The last one may be half a line.
    let whole = noted.rfind('\n').map_or(0, |end| end + 1);
    let mut notes = File::options()
        .create(true)
        .append(true)
        .open(&file)
        .unwrap();
    notes.set_len(whole as u64).unwrap();
    let taken = noted[..whole].lines().count();
    let rest = batches.prefetched(Seed(3), taken as u64, 2);
    for batch in rest.take(BATCHES - taken) {
        let hash = ContentHash::of("batch", [format!("{:?}", batch.unwrap())]);
        notes.write_all(format!("{hash}\n").as_bytes()).unwrap();
    }
}

#[test]
fn killed_at_any_batch_the_next_run_goes_on_with_the_same() {
    if let Some(folder) = given_folder() {
        go_through(&folder);
        return;
    }
    let test = "epoch::killed_at_any_batch_the_next_run_goes_on_with_the_same";
    let parent = tempfile::tempdir().unwrap();
    let whole = parent.path().join("whole");
    go_through(&whole);
    let expected = fs::read_to_string(whole.join("batches")).unwrap();
    assert_eq!(expected.lines().count(), BATCHES);
    let mut midway = 0;
    killed_at_any_moment(test, parent.path(), |folder| {
        let noted = fs::read_to_string(folder.join("batches")).unwrap_or_default();
        assert!(expected.starts_with(&noted));
        midway += usize::from(!noted.is_empty() && noted != expected);
        go_through(folder);
        assert!(fs::read_to_string(folder.join("batches")).unwrap() == expected);
    });
    println!("of 50 kills {midway} met a run between its first and its last batch");
    assert!(midway >= 10, "{midway} kills midway");
}
