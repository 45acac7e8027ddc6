use crate::answer::failure;
use crate::cache::{RepoCache, is_commit};
use crate::patterns::Patterns;
use crate::progress::Report;
use crate::unchecked::Note;
use crate::{Hub, HubError, RepoId, RepoKind};
use hf_hub::repository::RepoTreeEntry;
use hf_hub::{HFClient, HFClientSync, HFError, HFRepositorySync, HFResult, RepoType, split_id};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// Why nothing was downloaded.
pub(crate) enum Failure {
    /// The hub can't be reached, or is out of order: the cache may help.
    NoAnswer(String),
    /// Anything else.
    Error(HubError),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Error(error)
    }
}

/// Downloads what the cache lacks of a snapshot, as the hub lists it now.
pub(crate) fn download(
    hub: &Hub,
    kind: RepoKind,
    repo: &RepoId,
    wanted: &Patterns,
    cache: &RepoCache,
) -> Result<PathBuf, Failure> {
    check_address(&hub.endpoint)?;
    let explain = |error| failure(error, hub, kind, repo);
    let at = |commit: HFResult<Option<String>>| match commit.map_err(explain)? {
        Some(commit) if is_commit(&commit) => Ok(Download {
            hub,
            kind,
            repo,
            wanted,
            cache,
            commit,
        }),
        got => Err(Failure::Error(HubError::Answer {
            endpoint: hub.endpoint.clone(),
            problem: format!("the commit of `{repo}`: got {got:?}, expected 40 digits"),
        })),
    };
    let client = client(hub).map_err(explain)?;
    let (owner, name) = split_id(repo.id());
    match kind {
        RepoKind::Model => {
            let remote = client.model(owner, name);
            let info = remote.info().revision(repo.revision()).send();
            at(info.map(|info| info.sha))?.from(&remote)
        }
        RepoKind::Dataset => {
            let remote = client.dataset(owner, name);
            let info = remote.info().revision(repo.revision()).send();
            at(info.map(|info| info.sha))?.from(&remote)
        }
    }
}

/// The names of all files of a repository.
pub(crate) fn list(hub: &Hub, kind: RepoKind, repo: &RepoId) -> Result<Vec<String>, Failure> {
    check_address(&hub.endpoint)?;
    let explain = |error| failure(error, hub, kind, repo);
    let client = client(hub).map_err(explain)?;
    let (owner, name) = split_id(repo.id());
    let revision = repo.revision();
    let tree = match kind {
        RepoKind::Model => {
            let remote = client.model(owner, name);
            remote.list_tree().revision(revision).recursive(true).send()
        }
        RepoKind::Dataset => {
            let remote = client.dataset(owner, name);
            remote.list_tree().revision(revision).recursive(true).send()
        }
    };
    let names = tree
        .map_err(explain)?
        .into_iter()
        .filter_map(|entry| match entry {
            RepoTreeEntry::File { path, .. } => Some(path),
            RepoTreeEntry::Directory { .. } => None,
        });
    Ok(names.collect())
}

fn check_address(endpoint: &str) -> Result<(), HubError> {
    let problem = match reqwest::Url::parse(endpoint) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) => return Ok(()),
        Ok(url) => format!("it begins with `{}:`", url.scheme()),
        Err(error) => error.to_string(),
    };
    Err(HubError::Endpoint {
        got: endpoint.to_owned(),
        problem,
    })
}

/// hf-hub's client, with nothing of its own from the environment.
fn client(hub: &Hub) -> Result<HFClientSync, HFError> {
    let agent = concat!("distily/", env!("CARGO_PKG_VERSION"));
    // Behind some firewalls nothing answers, not even with a refusal.
    let http = reqwest::Client::builder()
        .user_agent(agent)
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(60))
        .build()?;
    HFClient::builder()
        .client(http)
        .user_agent(agent)
        .endpoint(&hub.endpoint)
        .cache_dir(&hub.cache)
        // hf-hub takes no token for leave to look for one. It sends none that is no header.
        .token(hub.token.as_ref().map_or("\n", |token| token.reveal()))
        .retry_max_attempts(3)
        .build_sync()
}

struct Download<'a> {
    hub: &'a Hub,
    kind: RepoKind,
    repo: &'a RepoId,
    wanted: &'a Patterns,
    cache: &'a RepoCache,
    commit: String,
}

impl Download<'_> {
    fn from<T: RepoType>(&self, remote: &HFRepositorySync<T>) -> Result<PathBuf, Failure> {
        let Self { cache, commit, .. } = self;
        let listed = self.listed(remote)?;
        let there = cache.files(commit)?;
        let broken_off = !Note::of(&cache.locks, commit)?.is_empty();
        if broken_off || listed.keys().any(|file| !there.contains(file)) {
            let _lock = cache.lock()?;
            // Another process may have done it in the meantime.
            let lacking = self.lacking(&listed)?;
            if !lacking.is_empty() {
                self.fetch(remote, &listed, lacking)?;
            }
            self.settle(&listed, None)?;
        }
        if !is_commit(self.repo.revision()) {
            cache.set_commit(self.repo.revision(), commit)?;
        }
        Ok(cache.snapshot(commit))
    }

    /// The wanted files of the repository, and their sizes.
    fn listed<T: RepoType>(
        &self,
        remote: &HFRepositorySync<T>,
    ) -> Result<BTreeMap<String, u64>, Failure> {
        let tree = remote
            .list_tree()
            .revision(&self.commit)
            .recursive(true)
            .send();
        let tree = tree.map_err(|error| self.failure(error))?;
        let mut listed = BTreeMap::new();
        let mut names = BTreeSet::new();
        for entry in tree {
            let RepoTreeEntry::File { path, size, .. } = entry else {
                continue;
            };
            if self.wanted.want(&path) {
                if !stays_inside(&path) {
                    return Err(self.answer(format!("lists a file named {path:?}")));
                }
                listed.insert(path.clone(), size);
            }
            names.insert(path);
        }
        match self.wanted.unmet(&names) {
            None => Ok(listed),
            Some(pattern) => {
                let some: Vec<&str> = names.iter().map(String::as_str).take(8).collect();
                let what = format!("`{pattern}` in the {} `{}`", self.kind, self.repo);
                Err(Failure::Error(HubError::NotFound {
                    endpoint: self.hub.endpoint.clone(),
                    what,
                    advice: format!("it has {} files: {} …", names.len(), some.join(", ")),
                }))
            }
        }
    }

    /// The listed files that the cache lacks. Those of a download that was broken off are checked.
    fn lacking(&self, listed: &BTreeMap<String, u64>) -> Result<BTreeMap<String, u64>, HubError> {
        let Self { cache, commit, .. } = self;
        let mut there = cache.files(commit)?;
        for note in Note::of(&cache.locks, commit)? {
            for file in note.files.keys() {
                if let Some(&size) = listed.get(file)
                    && there.contains(file)
                    && cache.check(commit, file, size)?.is_some()
                {
                    there.remove(file);
                }
            }
        }
        let lacking = listed.iter().filter(|(file, _)| !there.contains(*file));
        Ok(lacking.map(|(file, &size)| (file.clone(), size)).collect())
    }

    fn fetch<T: RepoType>(
        &self,
        remote: &HFRepositorySync<T>,
        listed: &BTreeMap<String, u64>,
        files: BTreeMap<String, u64>,
    ) -> Result<(), Failure> {
        let Self { cache, commit, .. } = self;
        let (count, bytes, started) = (files.len(), files.values().sum(), Instant::now());
        tracing::info!(repo = %self.repo, files = count, megabytes = bytes / 1_000_000, "downloading");
        let note = Note::write(&cache.locks, commit, files)?;
        self.settle(listed, Some(&note))?;
        let globs = note
            .files
            .keys()
            .map(|file| globset::escape(file))
            .collect();
        let sent = remote
            .snapshot_download()
            .revision(commit)
            .allow_patterns(globs)
            .progress(Report::new(bytes))
            .send();
        sent.map_err(|error| self.failure(error))?;
        let there = cache.files(commit)?;
        // All are checked before the first is complained about: what is there stays.
        let mut corrupt = None;
        for (file, &size) in &note.files {
            if !there.contains(file) {
                return Err(self.answer(format!("lists `{file}`, but doesn't have it")));
            }
            if let Some(problem) = cache.check(commit, file, size)? {
                let file = cache.snapshot(commit).join(file);
                corrupt = corrupt.or(Some(HubError::Corrupt { file, problem }));
            }
        }
        if let Some(error) = corrupt {
            return Err(error.into());
        }
        tracing::info!(repo = %self.repo, seconds = started.elapsed().as_secs(), "downloaded");
        Ok(())
    }

    /// Removes the notes on downloads that are made good: their files are there and checked, or
    /// noted anew.
    fn settle(&self, listed: &BTreeMap<String, u64>, but: Option<&Note>) -> Result<(), HubError> {
        for note in Note::of(&self.cache.locks, &self.commit)? {
            let listed = note.files.keys().all(|file| listed.contains_key(file));
            if listed && !but.is_some_and(|but| but.is(&note)) {
                note.remove();
            }
        }
        Ok(())
    }

    fn failure(&self, error: HFError) -> Failure {
        failure(error, self.hub, self.kind, self.repo)
    }

    fn answer(&self, problem: String) -> Failure {
        let endpoint = self.hub.endpoint.clone();
        Failure::Error(HubError::Answer { endpoint, problem })
    }
}

/// Whether a name is that of a file in a folder, or could lead out of it.
fn stays_inside(name: &str) -> bool {
    let plain = |part| matches!(part, Component::Normal(_));
    !name.contains(['\\', '\0', '\n'])
        && !name.split('/').any(|part| part.is_empty() || part == ".")
        && Path::new(name).components().all(plain)
}
