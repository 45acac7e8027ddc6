use std::fmt;
use std::path::PathBuf;
use thiserror::Error;

/// Why there is no folder.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// A name that is no hub id.
    #[error(
        "`{got}` is no hub id: it has {problem}; expected owner/name or name, optionally @revision"
    )]
    Id {
        /// The name.
        got: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A name that is neither a folder nor a repository that can be had.
    #[error("there is no folder `{name}`, and on the hub: {source}")]
    Neither {
        /// The name.
        name: String,
        /// Why there is no such repository either.
        source: Box<HubError>,
    },
    /// A pattern that can't be read, or none.
    #[error(
        "the pattern `{pattern}`: {problem}; expected a file's name or a glob such as `*.json`"
    )]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An endpoint that is no address.
    #[error(
        "the hub's address is `{got}`: {problem}; expected one such as https://huggingface.co: see HF_ENDPOINT"
    )]
    Endpoint {
        /// The address.
        got: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A repository, a revision or a file that the hub doesn't have.
    #[error("{endpoint} has no {what}: {advice}")]
    NotFound {
        /// The hub.
        endpoint: String,
        /// What was looked up.
        what: String,
        /// What to do.
        advice: String,
    },
    /// A repository that is not for everyone.
    #[error(
        "{page} answers {status}{said}: check the name; set HF_TOKEN or run `hf auth login`; and if the repository is gated, accept its licence at that page"
    )]
    Token {
        /// The repository's page.
        page: String,
        /// The HTTP status: 401 or 403.
        status: u16,
        /// What the hub said, in brackets; or nothing.
        said: String,
    },
    /// No usable answer from the hub, and no whole snapshot in the cache.
    #[error(
        "no answer from {endpoint} ({problem}), and {uncached}. To work without a network, run `{}` where there is one, and copy that folder",
        .uncached.command
    )]
    NoNetwork {
        /// The hub.
        endpoint: String,
        /// What went wrong.
        problem: String,
        /// What was looked for in the cache.
        uncached: Box<Uncached>,
    },
    /// No whole snapshot in the cache, and the hub may not be asked.
    #[error(
        "{uncached}; and the hub may not be asked (HF_HUB_OFFLINE). Allow it, or run `{}` where there is a network, and copy that folder",
        .uncached.command
    )]
    Offline {
        /// What was looked for in the cache.
        uncached: Box<Uncached>,
    },
    /// A file that arrived otherwise than the hub says that it is. It is no longer in the cache.
    #[error("{file}: {problem}: it was removed; try again")]
    Corrupt {
        /// The file's place in the snapshot.
        file: PathBuf,
        /// How it differs.
        problem: String,
    },
    /// An answer that the hub shouldn't give.
    #[error("{endpoint}: {problem}")]
    Answer {
        /// The hub.
        endpoint: String,
        /// What it said.
        problem: String,
    },
    /// Another program holds a file of the cache.
    #[error("{lock}: another program is downloading the same file: try again when it is done")]
    Busy {
        /// The lock.
        lock: PathBuf,
    },
    /// The disk.
    #[error("{file}: {source}")]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A snapshot that the cache lacks, wholly or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uncached {
    /// The repository.
    pub repo: String,
    /// Its folder in the cache.
    pub cache: PathBuf,
    /// What that folder lacks.
    pub lacks: String,
    /// How to download it with the Python tools.
    pub command: String,
}

impl fmt::Display for Uncached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repo, lacks, .. } = self;
        let cache = self.cache.display();
        write!(f, "{repo} isn't whole in the cache at {cache}: {lacks}")
    }
}

impl HubError {
    pub(crate) fn io(file: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io { file, source }
    }
}
