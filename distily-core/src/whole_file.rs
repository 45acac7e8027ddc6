use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Writes a file whole or not at all: `write` fills a temporary file in the same folder, which is
/// flushed to the disk and renamed over `path`. The folder is made if it is not there.
///
/// ```no_run
/// # use std::path::Path;
/// distily_core::write_whole(Path::new("run/notes.txt"), |path| std::fs::write(path, "done"))?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Whatever the disk or `write` reports; an existing file at `path` is then as it was.
pub fn write_whole<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    // What a file made the ordinary way gets, where a temporary file would be its owner's alone;
    // the process's umask still applies.
    #[cfg(unix)]
    let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temporary = builder.prefix(".partial-").tempfile_in(folder)?;
    let permissions = temporary.as_file().metadata()?.permissions();
    write(temporary.path())?;
    // `write` may have put another file in the place of the one that it got.
    let written = File::options().write(true).open(temporary.path())?;
    written.set_permissions(permissions)?;
    written.sync_all()?;
    temporary.persist(path).map_err(io::Error::from)?;
    // The rename itself is on the disk only when the folder is.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file.txt");
        write_whole(&path, |path| fs::write(path, "old")).unwrap();
        let failed = write_whole(&path, |path| {
            fs::write(path, "new")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
