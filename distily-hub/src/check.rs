use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How a file of a snapshot differs from what the hub says that it is. The name of the blob behind
/// it is its hash: sha256 of a large file, git's sha1 of a small one. Where files are copies rather
/// than links (Windows), there is only the size.
pub(crate) fn difference(file: &Path, size: u64) -> io::Result<Option<String>> {
    let got = file.metadata()?.len();
    if got != size {
        return Ok(Some(format!("got {got} bytes, expected {size}")));
    }
    let blob = file.read_link().unwrap_or_default();
    let expected = blob.file_name().unwrap_or_default().to_string_lossy();
    let hexadecimal = expected.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (hash, got) = match expected.len() {
        64 if hexadecimal => ("sha256", hex(Sha256::new(), file)?),
        40 if hexadecimal => {
            let header = format!("blob {size}\0");
            ("git sha1", hex(Sha1::new_with_prefix(header), file)?)
        }
        _ => return Ok(None),
    };
    Ok((!got.eq_ignore_ascii_case(&expected))
        .then(|| format!("its {hash} is {got}, but the hub says {expected}")))
}

fn hex(mut hasher: impl Digest, file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let hash = hasher.finalize();
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn blobs_are_named_by_their_hash() {
        let folder = tempfile::tempdir().unwrap();
        let difference_of = |name: &str, content: &str, size| {
            let (blob, link) = (folder.path().join(name), folder.path().join("link"));
            std::fs::write(&blob, content).unwrap();
            let _ = std::fs::remove_file(&link);
            symlink(&blob, &link).unwrap();
            difference(&link, size).unwrap()
        };
        // echo -n hello | sha256sum; echo -n hello | git hash-object --stdin
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let git = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";
        for name in [sha256, git, "abc"] {
            assert_eq!(difference_of(name, "hello", 5), None);
            assert!(
                difference_of(name, "hello", 6)
                    .unwrap()
                    .contains("expected 6")
            );
        }
        for name in [sha256, git] {
            let difference = difference_of(name, "hallo", 5).unwrap();
            assert!(difference.contains("but the hub says"), "{difference}");
        }
        assert_eq!(difference_of("abc", "hallo", 5), None);
    }
}
