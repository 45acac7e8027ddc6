use crate::HubError;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A note of the files, with their sizes, that a download was begun for. It is written before the
/// download and removed when all are there and checked, so that what a crash leaves is not taken
/// for whole later. It lies among the cache's locks, where no other program looks at it.
#[derive(Debug)]
pub(crate) struct Note {
    path: PathBuf,
    pub(crate) files: BTreeMap<String, u64>,
}

impl Note {
    /// Writes the note. Its name is a hash of its content: downloads of the same files share it,
    /// and whichever is done first has done it for the others.
    pub(crate) fn write(
        folder: &Path,
        commit: &str,
        files: BTreeMap<String, u64>,
    ) -> Result<Self, HubError> {
        let lines = files.iter().map(|(name, size)| format!("{size} {name}\n"));
        let text: String = lines.collect();
        let hash = Sha256::digest(&text);
        let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = folder.join(format!("{commit}-{hash}{EXTENSION}"));
        write_whole(&path, &text).map_err(HubError::io(&path))?;
        Ok(Self { path, files })
    }

    /// The notes on a commit.
    pub(crate) fn of(folder: &Path, commit: &str) -> Result<Vec<Self>, HubError> {
        let mut notes = Vec::new();
        for path in entries(folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(commit) && name.ends_with(EXTENSION) {
                match fs::read_to_string(&path) {
                    Ok(text) => notes.push(Self {
                        files: text.lines().filter_map(line).collect(),
                        path,
                    }),
                    // Another process has just finished that download.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(HubError::io(&path)(error)),
                }
            }
        }
        Ok(notes)
    }

    /// Removes the note; one that stays only costs time, for its files are then checked again.
    pub(crate) fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(file = %self.path.display(), %error, "a note stays");
        }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

const EXTENSION: &str = ".unchecked";

fn line(line: &str) -> Option<(String, u64)> {
    let (size, name) = line.split_once(' ')?;
    Some((name.to_owned(), size.parse().ok()?))
}

/// What is in a folder; nothing, if there is no such folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, HubError> {
    match fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()
            .map_err(HubError::io(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(HubError::io(folder)(error)),
    }
}

/// Writes a file whole or not at all, with its folder.
pub(crate) fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    // A cache is often shared, where a temporary file would be its owner's alone; the process's
    // umask still applies.
    #[cfg(unix)]
    let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut temporary = builder.prefix(".partial-").tempfile_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let locks = folder.path().join("locks");
        assert!(Note::of(&locks, "abc").unwrap().is_empty());
        let files = BTreeMap::from([("a b.json".to_owned(), 3), ("c/d".to_owned(), 0)]);
        let note = Note::write(&locks, "abc", files.clone()).unwrap();
        let again = Note::write(&locks, "abc", files.clone()).unwrap();
        assert!(note.is(&again));
        assert!(Note::of(&locks, "def").unwrap().is_empty());
        let read = Note::of(&locks, "abc").unwrap();
        assert_eq!((read.len(), &read[0].files), (1, &files));
        note.remove();
        again.remove();
        assert!(Note::of(&locks, "abc").unwrap().is_empty());
    }
}
