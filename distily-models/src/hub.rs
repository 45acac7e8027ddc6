use crate::ModelError;
use std::path::{Path, PathBuf};

/// The folder of a model that is named as people name it: a folder as it is, or a hub id
/// (`owner/name`, optionally `owner/name@revision`) that is in the Hugging Face cache. The cache is
/// where `HF_HUB_CACHE` or `HF_HOME` say, as for the Python tools.
///
/// # Errors
///
/// [`ModelError::File`], saying where it looked and what to do.
pub fn find_model(name: &str) -> Result<PathBuf, ModelError> {
    let folder = Path::new(name);
    if folder.is_dir() {
        return Ok(folder.to_owned());
    }
    let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
    // Two plain names: an id can't lead out of the cache.
    let plain =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\\']);
    match id.split_once('/') {
        Some((owner, model)) if plain(owner) && plain(model) && plain(revision) => {
            let cache = cache().join(format!("models--{owner}--{model}"));
            let commit = std::fs::read_to_string(cache.join("refs").join(revision))
                .map_or_else(|_| revision.to_owned(), |text| text.trim().to_owned());
            let snapshot = cache.join("snapshots").join(&commit);
            if plain(&commit) && snapshot.is_dir() {
                return Ok(snapshot);
            }
            let problem = format!(
                "neither a folder nor in the cache at {}: download it with `hf download {id}`",
                cache.display()
            );
            Err(ModelError::file(folder, problem))
        }
        _ => Err(ModelError::file(
            folder,
            "there is no such folder, and it is no hub id (owner/name)",
        )),
    }
}

fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(cache) = variable("HF_HUB_CACHE") {
        return cache.into();
    }
    match variable("HF_HOME") {
        Some(home) => PathBuf::from(home).join("hub"),
        None => std::env::home_dir()
            .unwrap_or_default()
            .join(".cache/huggingface/hub"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_says_what_to_do() {
        let error = find_model("nobody/nothing").unwrap_err().to_string();
        assert!(error.contains("hf download nobody/nothing"), "{error}");
        let error = find_model("../../etc").unwrap_err().to_string();
        assert!(error.contains("no such folder"), "{error}");
    }
}
