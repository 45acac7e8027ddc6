use crate::cache::{Cached, RepoCache, no_revision};
use crate::download::{Failure, download, list};
use crate::environment::{self, Token};
use crate::error::Uncached;
use crate::patterns::Patterns;
use crate::{HubError, RepoId, RepoKind};
use std::path::{Path, PathBuf};

/// Where repositories come from, and where they are kept.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(crate) cache: PathBuf,
    pub(crate) endpoint: String,
    pub(crate) token: Option<Token>,
    pub(crate) offline: bool,
}

impl Hub {
    /// The public hub, without a token, and a folder to keep what is downloaded.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            endpoint: "https://huggingface.co".to_owned(),
            token: None,
            offline: false,
        }
    }

    /// As the Python tools find it: by `HF_HUB_CACHE` or `HF_HOME` (else `~/.cache/huggingface`),
    /// `HF_ENDPOINT`, `HF_TOKEN` or what `hf auth login` left (`HF_TOKEN_PATH`), and
    /// `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        // Never a relative path: a cache in each directory that a program is started from.
        let home = std::env::home_dir().unwrap_or_else(std::env::temp_dir);
        environment::hub(|name| std::env::var_os(name), &home)
    }

    /// Keeps what is downloaded in another folder.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = folder.into();
        self
    }

    /// Asks another hub, such as a mirror: `https://host`.
    #[must_use]
    pub fn endpoint(mut self, address: impl AsRef<str>) -> Self {
        self.endpoint = address.as_ref().trim_end_matches('/').to_owned();
        self
    }

    /// Shows a token, for repositories that are private or gated; `None` shows none.
    #[must_use]
    pub fn token(mut self, token: Option<&str>) -> Self {
        self.token = token.and_then(Token::new);
        self
    }

    /// Never asks the network.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// The folder of a model: what [`resolve`](Self::resolve) says, with the configuration, the
    /// weights as safetensors, the tokenizer and the chat template, and nothing else.
    ///
    /// # Errors
    ///
    /// [`HubError`].
    pub fn model(&self, name: &str) -> Result<PathBuf, HubError> {
        // Some repositories have the same weights once more under other names.
        const FILES: [&str; 6] = [
            "config.json",
            "generation_config*.json",
            "model*.safetensors",
            "model*.safetensors.index.json",
            "tokenizer*.json",
            "chat_template*",
        ];
        self.resolve(RepoKind::Model, name, &FILES)
    }

    /// The folder that a name means: a folder as it is, or else the snapshot of the repository
    /// (`owner/name` or `name`, optionally `@revision`); see [`snapshot`](Self::snapshot).
    ///
    /// # Errors
    ///
    /// [`HubError`]; [`HubError::Neither`] where the name could have meant a folder.
    pub fn resolve(&self, kind: RepoKind, name: &str, files: &[&str]) -> Result<PathBuf, HubError> {
        if Path::new(name).is_dir() {
            return Ok(name.into());
        }
        let snapshot = name
            .parse()
            .and_then(|repo| self.snapshot(kind, &repo, files));
        snapshot.map_err(|error| match error {
            HubError::Id { .. }
            | HubError::NotFound { .. }
            | HubError::Token { .. }
            | HubError::NoNetwork { .. }
            | HubError::Offline { .. } => HubError::Neither {
                name: name.to_owned(),
                source: Box::new(error),
            },
            other => other,
        })
    }

    /// The names of all files of a repository, with `/` between folders. Without a network they are
    /// those that the cache knows of.
    ///
    /// # Errors
    ///
    /// [`HubError`], saying what was looked up and what to do.
    pub fn files(&self, kind: RepoKind, repo: &RepoId) -> Result<Vec<String>, HubError> {
        let problem = if self.offline {
            None
        } else {
            match list(self, kind, repo) {
                Ok(files) => return Ok(files),
                Err(Failure::Error(error)) => return Err(error),
                Err(Failure::NoAnswer(problem)) => Some(problem),
            }
        };
        let cache = RepoCache::new(&self.cache, kind, repo);
        match cache.known(repo.revision())? {
            Some(files) => Ok(files.into_iter().collect()),
            None => {
                let lacks = no_revision(repo.revision());
                Err(self.uncached(kind, repo, cache, lacks, problem))
            }
        }
    }

    /// The folder with those files of a repository that match one of the patterns, downloaded if
    /// need be. `files` are names and globs, where `*` matches `/` as well: a name must be in the
    /// repository, and so must something for a `*.safetensors`; other globs may match nothing, but
    /// not all of them. There may be other files in the folder.
    ///
    /// What is downloaded is checked against the hub's hashes. Without a network the cache serves,
    /// with a warning if that was to be expected otherwise, but only a snapshot that is whole: the
    /// above holds, no shard is missing, and nothing is left to do of a download that was broken
    /// off. A download that is broken off goes on with the next file; a file is begun again.
    ///
    /// # Errors
    ///
    /// [`HubError`], saying what was looked up and what to do.
    pub fn snapshot(
        &self,
        kind: RepoKind,
        repo: &RepoId,
        files: &[&str],
    ) -> Result<PathBuf, HubError> {
        let wanted = Patterns::new(files)?;
        let cache = RepoCache::new(&self.cache, kind, repo);
        let problem = if self.offline {
            None
        } else {
            match download(self, kind, repo, &wanted, &cache) {
                Ok(folder) => return Ok(folder),
                Err(Failure::Error(error)) => return Err(error),
                Err(Failure::NoAnswer(problem)) => Some(problem),
            }
        };
        let lacks = match cache.whole(repo.revision(), &wanted)? {
            Cached::Whole(folder) => {
                if let Some(problem) = problem {
                    tracing::warn!(
                        %repo, endpoint = self.endpoint, problem,
                        "no answer from the hub: took what is in the cache, which may be out of date"
                    );
                }
                return Ok(folder);
            }
            Cached::Lacks(lacks) => lacks,
        };
        Err(self.uncached(kind, repo, cache, lacks, problem))
    }

    /// That the cache lacks something, and why the hub wasn't asked for it.
    fn uncached(
        &self,
        kind: RepoKind,
        repo: &RepoId,
        cache: RepoCache,
        lacks: String,
        problem: Option<String>,
    ) -> HubError {
        let uncached = Box::new(Uncached {
            repo: repo.to_string(),
            cache: cache.folder,
            lacks,
            command: repo.command(kind),
        });
        match problem {
            None => HubError::Offline { uncached },
            Some(problem) => HubError::NoNetwork {
                endpoint: self.endpoint.clone(),
                problem,
                uncached,
            },
        }
    }
}
