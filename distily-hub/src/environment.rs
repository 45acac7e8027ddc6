use crate::Hub;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// A secret, which its debug form keeps.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            tracing::warn!("ignored a token with a character that no token has: check HF_TOKEN");
            return None;
        }
        Some(Self(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What the Python tools read from the environment, in their order (`huggingface_hub/constants.py`).
pub(crate) fn hub(variable: impl Fn(&str) -> Option<OsString>, home: &Path) -> Hub {
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    let text = |name| variable(name).and_then(|value| value.into_string().ok());
    let path = |name| variable(name).map(|value| expanded(value.into(), home));
    let yes = |name| {
        text(name).is_some_and(|value| {
            ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str())
        })
    };

    let home = path("HF_HOME").unwrap_or_else(|| {
        let cache = path("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache"));
        cache.join("huggingface")
    });
    let cache = path("HF_HUB_CACHE")
        .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
        .unwrap_or_else(|| home.join("hub"));
    let token = || {
        let named = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
        named.as_deref().and_then(Token::new).or_else(|| {
            let file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
            Token::new(&std::fs::read_to_string(file).ok()?)
        })
    };

    let mut hub = Hub::new(cache);
    if let Some(endpoint) = text("HF_ENDPOINT") {
        hub = hub.endpoint(endpoint);
    }
    if !yes("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
        hub.token = token();
    }
    hub.offline(yes("HF_HUB_OFFLINE") || yes("TRANSFORMERS_OFFLINE"))
}

/// With the home directory for a `~` at the start.
fn expanded(path: PathBuf, home: &Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => home.join(rest),
        Err(_) => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub_of(variables: &[(&str, &str)], home: &Path) -> Hub {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
        hub(|name| value(name).map(|(_, value)| value.into()), home)
    }

    #[test]
    fn an_empty_environment_means_the_defaults() {
        let hub = hub_of(&[("HF_HOME", ""), ("HF_TOKEN", "")], Path::new("/me"));
        assert_eq!(hub.cache, Path::new("/me/.cache/huggingface/hub"));
        assert_eq!(hub.endpoint, "https://huggingface.co");
        assert_eq!((hub.token, hub.offline), (None, false));
    }

    #[test]
    fn the_cache_is_where_the_most_specific_variable_says() {
        let mut variables = vec![
            ("HF_HUB_CACHE", "~/c"),
            ("HUGGINGFACE_HUB_CACHE", "/b"),
            ("HF_HOME", "/hf"),
            ("XDG_CACHE_HOME", "/x"),
        ];
        for expected in ["/me/c", "/b", "/hf/hub", "/x/huggingface/hub"] {
            assert_eq!(
                hub_of(&variables, Path::new("/me")).cache,
                Path::new(expected)
            );
            variables.remove(0);
        }
    }

    #[test]
    fn the_token_is_the_variables_or_a_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            file.to_str().unwrap().to_owned()
        };
        let (home, other) = (
            folder.path().to_str().unwrap(),
            write("other", " hf_other\n"),
        );
        write("token", "hf_file\n");
        let mut variables = vec![
            ("HF_TOKEN", "hf_a\n"),
            ("HUGGING_FACE_HUB_TOKEN", "hf_b"),
            ("HF_TOKEN_PATH", &other),
            ("HF_HOME", home),
        ];
        for expected in ["hf_a", "hf_b", "hf_other", "hf_file"] {
            let token = hub_of(&variables, Path::new("/me")).token.unwrap();
            assert_eq!(token.reveal(), expected);
            variables.remove(0);
        }
        let variables = [("HF_TOKEN", "hf_a"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(hub_of(&variables, Path::new("/me")).token, None);
        let variables = [("HF_TOKEN", "hf\u{fc}"), ("HF_HOME", "/nowhere")];
        assert_eq!(hub_of(&variables, Path::new("/me")).token, None);
    }

    #[test]
    fn offline_and_endpoint() {
        for (value, offline) in [
            ("1", true),
            ("True", true),
            ("ON", true),
            ("0", false),
            ("no", false),
        ] {
            assert_eq!(
                hub_of(&[("HF_HUB_OFFLINE", value)], Path::new("/")).offline,
                offline
            );
        }
        assert!(hub_of(&[("TRANSFORMERS_OFFLINE", "yes")], Path::new("/")).offline);
        let hub = hub_of(
            &[("HF_ENDPOINT", "https://mirror.example/")],
            Path::new("/"),
        );
        assert_eq!(hub.endpoint, "https://mirror.example");
    }

    #[test]
    fn the_token_is_not_shown() {
        let hub = hub_of(&[("HF_TOKEN", "hf_secret")], Path::new("/"));
        assert!(!format!("{hub:?} {hub:#?}").contains("secret"));
    }
}
