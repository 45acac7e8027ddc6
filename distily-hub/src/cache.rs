use crate::check::difference;
use crate::patterns::Patterns;
use crate::shards;
use crate::unchecked::{Note, entries, write_whole};
use crate::{HubError, RepoId, RepoKind};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A repository in the cache, which is laid out as the Python tools do it:
///
/// ```text
/// models--OWNER--NAME/refs/REVISION             the commit that a revision is at
///                     snapshots/COMMIT/FILE  →  blobs/HASH
///                     trees/COMMIT.json         newer tools': what the commit has (only read here)
/// .locks/models--OWNER--NAME/
/// ```
#[derive(Debug)]
pub(crate) struct RepoCache {
    pub(crate) folder: PathBuf,
    pub(crate) locks: PathBuf,
}

#[derive(Deserialize)]
struct Tree {
    format_version: u64,
    files: BTreeMap<String, IgnoredAny>,
}

/// What the cache can serve without a network.
pub(crate) enum Cached {
    /// A folder with all files.
    Whole(PathBuf),
    /// Not that, for the want of this.
    Lacks(String),
}

impl RepoCache {
    pub(crate) fn new(cache: &Path, kind: RepoKind, repo: &RepoId) -> Self {
        let name = format!("{}--{}", kind.plural(), repo.id().replace('/', "--"));
        Self {
            locks: cache.join(".locks").join(&name),
            folder: cache.join(name),
        }
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The commit of a revision, as the cache knows it.
    fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes the commit that a revision is at.
    pub(crate) fn set_commit(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let file = self.folder.join("refs").join(revision);
        write_whole(&file, commit).map_err(HubError::io(&file))
    }

    /// The files of a snapshot, links that lead nowhere excepted.
    pub(crate) fn files(&self, commit: &str) -> Result<BTreeSet<String>, HubError> {
        let mut files = BTreeSet::new();
        walk(&self.snapshot(commit), "", &mut files)?;
        Ok(files)
    }

    /// The files that a commit has on the hub, where newer Python tools left a list of them.
    fn listed(&self, commit: &str) -> BTreeSet<String> {
        let file = self.folder.join("trees").join(format!("{commit}.json"));
        let tree = fs::read(file).ok();
        let tree = tree.and_then(|bytes| serde_json::from_slice::<Tree>(&bytes).ok());
        match tree {
            Some(tree) if tree.format_version == 1 => tree.files.into_keys().collect(),
            _ => BTreeSet::new(),
        }
    }

    /// The files that a revision has, as far as the cache knows; `None` if it knows no such revision.
    pub(crate) fn known(&self, revision: &str) -> Result<Option<BTreeSet<String>>, HubError> {
        let Some(commit) = self.commit(revision) else {
            return Ok(None);
        };
        let mut files = self.files(&commit)?;
        files.extend(self.listed(&commit));
        for note in Note::of(&self.locks, &commit)? {
            files.extend(note.files.into_keys());
        }
        Ok(Some(files))
    }

    /// A snapshot that has all files which the patterns ask for, as far as that can be known
    /// without the hub: what is named without a wildcard is there, weights are, shards are, what
    /// the Python tools listed is, and what a download was begun for is and is what it should be.
    pub(crate) fn whole(&self, revision: &str, wanted: &Patterns) -> Result<Cached, HubError> {
        let lacks = |what: String| Ok(Cached::Lacks(what));
        let Some(commit) = self.commit(revision) else {
            return lacks(no_revision(revision));
        };
        let snapshot = self.snapshot(&commit);
        if !snapshot.is_dir() {
            return lacks(format!("there is no snapshot {commit}"));
        }
        let files = self.files(&commit)?;
        let notes = Note::of(&self.locks, &commit)?;
        let listed = self.listed(&commit);
        let noted = notes.iter().flat_map(|note| note.files.keys());
        let absent = noted
            .chain(&listed)
            .find(|&file| wanted.want(file) && !files.contains(file));
        if let Some(file) = wanted.unmet(&files).or(absent.map(String::as_str)) {
            return lacks(format!("`{file}` is missing"));
        }
        if let Some(problem) = shards::missing(&snapshot, &files, wanted) {
            return lacks(problem);
        }
        for (file, &size) in notes.iter().flat_map(|note| &note.files) {
            if wanted.want(file)
                && let Some(problem) = self.check(&commit, file, size)?
            {
                return lacks(format!("`{file}` was damaged ({problem})"));
            }
        }
        for note in notes {
            if note.files.keys().all(|file| wanted.want(file)) {
                note.remove();
            }
        }
        Ok(Cached::Whole(snapshot))
    }

    /// Checks a file of a snapshot, and removes it if it isn't what it should be.
    pub(crate) fn check(
        &self,
        commit: &str,
        file: &str,
        size: u64,
    ) -> Result<Option<String>, HubError> {
        let link = self.snapshot(commit).join(file);
        let difference = difference(&link, size).map_err(HubError::io(&link))?;
        if let Some(problem) = &difference {
            tracing::warn!(file = %link.display(), %problem, "removing a damaged file");
            // The blob first: a link that leads nowhere is not taken for a file by anyone.
            let blob = link.read_link().unwrap_or_default();
            if let Some(name) = blob.file_name() {
                let blob = self.folder.join("blobs").join(name);
                fs::remove_file(&blob).map_err(HubError::io(&blob))?;
            }
            fs::remove_file(&link).map_err(HubError::io(&link))?;
        }
        Ok(difference)
    }

    /// Waits until no other process downloads into this repository's folder. hf-hub gives up after
    /// ten seconds. Where files can't be locked, there is no waiting.
    pub(crate) fn lock(&self) -> Result<File, HubError> {
        fs::create_dir_all(&self.locks).map_err(HubError::io(&self.locks))?;
        let path = self.locks.join("distily.lock");
        let file = File::create(&path).map_err(HubError::io(&path))?;
        if file.try_lock().is_err() {
            let folder = self.folder.display();
            tracing::info!(%folder, "waiting for another program that downloads it");
            if let Err(error) = file.lock() {
                tracing::debug!(file = %path.display(), %error, "not locked");
            }
        }
        Ok(file)
    }
}

/// That the cache has no snapshot of a revision.
pub(crate) fn no_revision(revision: &str) -> String {
    format!("there is no revision `{revision}`")
}

pub(crate) fn is_commit(revision: &str) -> bool {
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    revision.len() == 40 && revision.bytes().all(hexadecimal)
}

fn walk(folder: &Path, prefix: &str, files: &mut BTreeSet<String>) -> Result<(), HubError> {
    for path in entries(folder)? {
        // Names that aren't UTF-8 are none of the hub's.
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let name = format!("{prefix}{name}");
        if path.is_file() {
            files.insert(name);
        } else if path.is_dir() && !path.is_symlink() {
            walk(&path, &format!("{name}/"), files)?;
        }
    }
    Ok(())
}
