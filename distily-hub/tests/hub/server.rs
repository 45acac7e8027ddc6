//! A hub with one repository, on this machine.

use distily_hub::Hub;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

/// The commits of the repository's revisions.
pub(crate) const MAIN: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const NEXT: &str = "fedcba9876543210fedcba9876543210fedcba98";

/// A file that the repository has.
#[derive(Clone, Default)]
pub(crate) struct Remote {
    pub(crate) content: Vec<u8>,
    /// Large files are kept elsewhere, and known by their sha256.
    pub(crate) large: bool,
    /// What is sent in the content's place.
    pub(crate) sent: Option<Vec<u8>>,
    /// Whether it is sent after a while.
    pub(crate) late: bool,
    /// The status of the answer that sends it, if it isn't 200.
    pub(crate) status: Option<u16>,
}

/// What the hub has, and what it was asked.
pub(crate) struct State {
    /// `models/owner/name` or `datasets/owner/name`.
    pub(crate) repo: String,
    pub(crate) commits: BTreeMap<String, String>,
    pub(crate) files: BTreeMap<String, Remote>,
    /// What every request is answered with: status, error code, message.
    pub(crate) refusal: Option<(u16, &'static str, &'static str)>,
    /// Whether it shows its files only to those who have a token.
    pub(crate) gated: bool,
    /// `METHOD path`.
    pub(crate) asked: Vec<String>,
    /// The host that was asked, and the token that it was shown.
    pub(crate) tokens: Vec<(String, Option<String>)>,
    gone: bool,
}

/// The hub; it is gone when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(repo: &str, files: &[(&str, &str)]) -> Self {
        let commits = [
            ("main", MAIN),
            (MAIN, MAIN),
            ("refs/pr/1", NEXT),
            (NEXT, NEXT),
        ];
        let state = State {
            repo: repo.to_owned(),
            commits: commits
                .map(|(name, commit)| (name.into(), commit.into()))
                .into(),
            files: BTreeMap::new(),
            refusal: None,
            gated: false,
            asked: Vec::new(),
            tokens: Vec::new(),
            gone: false,
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, stream) = (Arc::clone(&shared), stream.unwrap());
                if shared.lock().unwrap().gone {
                    return;
                }
                // A client may hang up.
                std::thread::spawn(move || answer(&stream, &shared, address).ok());
            }
        });
        let server = Self {
            address,
            state,
            thread: Some(thread),
        };
        for (name, content) in files {
            server.put(name, content);
        }
        server
    }

    /// Weights and the like are large files, as on the hub.
    pub(crate) fn put(&self, name: &str, content: &str) {
        let remote = Remote {
            content: content.into(),
            large: name.ends_with(".safetensors") || name.ends_with(".parquet"),
            ..Remote::default()
        };
        self.state().files.insert(name.to_owned(), remote);
    }

    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Remote)) {
        change(self.state().files.get_mut(name).unwrap());
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn hub(&self, cache: &Path) -> Hub {
        Hub::new(cache).endpoint(self.endpoint())
    }

    /// What was asked since the last call, but for questions about the repository as a whole.
    pub(crate) fn asked_for_files(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut self.state().asked);
        asked.retain(|asked| !asked.contains(" /api/"));
        asked
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The thread sees it when it is asked once more.
        self.state().gone = true;
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn answer(stream: &TcpStream, state: &Mutex<State>, address: SocketAddr) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let (mut host, mut token) = (String::new(), None);
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("host") => host = value.to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                token = Some(value.to_owned());
            }
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let mut words = first.split(' ');
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    let path = path
        .split('?')
        .next()
        .unwrap_or_default()
        .replace("%2F", "/");
    if method == "GET" && state.lock().unwrap().late(&path) {
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    let (status, headers, body) = {
        let mut state = state.lock().unwrap();
        state.asked.push(format!("{method} {path}"));
        state.tokens.push((host, token));
        state.answer(method, &path, address)
    };
    let mut head = format!("HTTP/1.1 {status} as it is\r\nConnection: close\r\n{headers}");
    if !headers.contains("Content-Length") {
        write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    let mut stream = stream;
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if method != "HEAD" {
        stream.write_all(&body)?;
    }
    Ok(())
}

type Answer = (u16, String, Vec<u8>);

impl State {
    fn answer(&self, method: &str, path: &str, address: SocketAddr) -> Answer {
        let refuse = |status, code: &str, message: &str| {
            let headers = format!("X-Error-Code: {code}\r\nX-Error-Message: {message}\r\n");
            (status, headers, Vec::new())
        };
        if let Some((status, code, message)) = self.refusal {
            return refuse(status, code, message);
        }
        if let Some(hash) = path.strip_prefix("/elsewhere/") {
            let file = self
                .files
                .values()
                .find(|file| sha256(&file.content) == hash);
            return send(file.unwrap());
        }
        if let Some(path) = path.strip_prefix(&format!("/api/{}/", self.repo)) {
            let (what, revision) = path.split_once('/').unwrap();
            let Some(commit) = self.commits.get(revision) else {
                return refuse(404, "RevisionNotFound", "Invalid rev id");
            };
            let id = self.repo.split_once('/').unwrap().1;
            let body = match what {
                "revision" => serde_json::json!({ "id": id, "sha": commit }),
                "tree" => self.tree(),
                _ => panic!("asked for {path}"),
            };
            let headers = "Content-Type: application/json\r\n".to_owned();
            return (200, headers, body.to_string().into_bytes());
        }
        if let Some(repo_and_file) = path.strip_prefix('/')
            && let prefix = format!("{}/resolve/", self.repo.trim_start_matches("models/"))
            && let Some(path) = repo_and_file.strip_prefix(&prefix)
        {
            if self.gated {
                return refuse(401, "GatedRepo", "Access to it is restricted");
            }
            let (commit, name) = path.split_at(40);
            return match self.files.get(&name[1..]) {
                Some(file) => resolve(file, commit, method, address),
                None => refuse(404, "EntryNotFound", "Entry not found"),
            };
        }
        refuse(404, "RepoNotFound", "Repository not found")
    }

    fn late(&self, path: &str) -> bool {
        let asked_for = |name, file: &Remote| {
            path.ends_with(&format!("/{name}")) || path.ends_with(&sha256(&file.content))
        };
        let mut files = self.files.iter();
        files.any(|(name, file)| file.late && asked_for(name, file))
    }

    fn tree(&self) -> serde_json::Value {
        let mut entries = vec![serde_json::json!(
            { "type": "directory", "oid": "0", "size": 0, "path": "folder" }
        )];
        for (path, file) in &self.files {
            let size = file.content.len();
            let mut entry = serde_json::json!(
                { "type": "file", "oid": git(&file.content), "size": size, "path": path }
            );
            if file.large {
                let oid = sha256(&file.content);
                entry["lfs"] = serde_json::json!({ "oid": oid, "size": size, "pointerSize": 134 });
            }
            entries.push(entry);
        }
        serde_json::Value::Array(entries)
    }
}

/// A small file as it is; a large one by a redirection to another host.
fn resolve(file: &Remote, commit: &str, method: &str, address: SocketAddr) -> Answer {
    let commit = format!("X-Repo-Commit: {commit}\r\n");
    if file.large {
        let (hash, size) = (sha256(&file.content), file.content.len());
        let to = format!("http://localhost:{}/elsewhere/{hash}", address.port());
        let linked = format!("X-Linked-Etag: \"{hash}\"\r\nX-Linked-Size: {size}\r\n");
        (
            302,
            format!("{commit}{linked}Location: {to}\r\n"),
            Vec::new(),
        )
    } else {
        let etag = format!("{commit}ETag: \"{}\"\r\n", git(&file.content));
        if method == "HEAD" {
            return (200, etag, file.content.clone());
        }
        let (status, headers, body) = send(file);
        (status, etag + &headers, body)
    }
}

fn send(file: &Remote) -> Answer {
    let body = file.sent.as_ref().unwrap_or(&file.content).clone();
    // As many bytes are announced as there should be: fewer are a connection that breaks.
    let length = file.content.len().max(body.len());
    let status = file.status.unwrap_or(200);
    (status, format!("Content-Length: {length}\r\n"), body)
}

pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

pub(crate) fn git(content: &[u8]) -> String {
    hex(&Sha1::new_with_prefix(format!("blob {}\0", content.len()))
        .chain_update(content)
        .finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
