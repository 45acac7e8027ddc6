//! What is downloaded, kept and served again.

use crate::server::{MAIN, NEXT, Server, git, sha256};
use distily_hub::{Hub, HubError, RepoKind};
use std::fs;
use std::path::Path;

const FILES: [(&str, &str); 5] = [
    ("config.json", "{}"),
    ("folder/notes.txt", "notes"),
    ("model.safetensors", "weights"),
    ("tokenizer.json", "{ }"),
    ("README.md", "# Read"),
];
const WANTED: [&str; 3] = ["config.json", "*.safetensors", "*.safetensors.index.json"];

fn model(hub: &Hub, files: &[&str]) -> Result<std::path::PathBuf, HubError> {
    hub.snapshot(RepoKind::Model, &"me/tiny".parse()?, files)
}

/// All files below a folder, with what they hold.
fn content(folder: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let inner = content(&path).into_iter();
            all.extend(inner.map(|(inner, text)| (format!("{name}/{inner}"), text)));
        } else {
            all.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_snapshot_is_downloaded_once_and_laid_out_as_the_python_tools_do() {
    let (server, cache) = (
        Server::new("models/me/tiny", &FILES),
        tempfile::tempdir().unwrap(),
    );
    let hub = server.hub(cache.path());
    let folder = model(&hub, &WANTED).unwrap();
    let repo = cache.path().join("models--me--tiny");
    assert_eq!(folder, repo.join("snapshots").join(MAIN));
    let (config, weights) = (git(b"{}"), sha256(b"weights"));
    let files = [
        (format!("blobs/{weights}"), "weights"),
        (format!("blobs/{config}"), "{}"),
        ("refs/main".to_owned(), MAIN),
        (format!("snapshots/{MAIN}/config.json"), "{}"),
        (format!("snapshots/{MAIN}/model.safetensors"), "weights"),
    ];
    let mut files = files.map(|(name, text)| (name, text.to_owned())).to_vec();
    files.sort();
    assert_eq!(content(&repo), files);
    #[cfg(unix)]
    {
        let link = fs::read_link(folder.join("config.json")).unwrap();
        assert_eq!(link, Path::new("../../blobs").join(config));
    }
    // Only what was asked for.
    let asked = server.asked_for_files();
    assert!(!asked.is_empty() && asked.iter().all(|asked| !asked.contains("README")));
    // Nothing is left among the locks but locks.
    let locks = content(&cache.path().join(".locks/models--me--tiny"));
    assert!(
        locks.iter().all(|(name, _)| name.ends_with(".lock")),
        "{locks:?}"
    );

    assert_eq!(model(&hub, &WANTED).unwrap(), folder);
    assert_eq!(server.asked_for_files(), [""; 0]);
    assert_eq!(content(&repo), files);

    // Other files of it later.
    model(&hub, &["*.txt", "config.json"]).unwrap();
    assert!(
        server
            .asked_for_files()
            .iter()
            .all(|asked| asked.ends_with("folder/notes.txt"))
    );
    assert_eq!(fs::read(folder.join("folder/notes.txt")).unwrap(), b"notes");
}

#[test]
fn the_files_of_a_repository_are_listed() {
    let (server, cache) = (
        Server::new("models/me/tiny", &FILES),
        tempfile::tempdir().unwrap(),
    );
    let hub = server.hub(cache.path());
    let listed = |hub: &Hub, repo: &str| {
        let mut files = hub.files(RepoKind::Model, &repo.parse()?)?;
        files.sort();
        Ok::<_, HubError>(files)
    };
    let mut all = FILES.map(|(name, _)| name);
    all.sort();
    assert_eq!(listed(&hub, "me/tiny").unwrap(), all);
    assert_eq!(listed(&hub, "me/tiny@refs/pr/1").unwrap(), all);
    let offline = hub.clone().offline(true);
    let error = listed(&offline, "me/tiny").unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    let error = listed(&hub, "me/huge").unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }), "{error}");
    // The cache knows what it has.
    model(&hub, &["config.json", "folder/*"]).unwrap();
    let files = ["config.json", "folder/notes.txt"];
    assert_eq!(listed(&offline, "me/tiny").unwrap(), files);
    server.state().refusal = Some((503, "", "upgrading"));
    assert_eq!(listed(&hub, "me/tiny").unwrap(), files);
}

#[test]
fn offline_the_cache_serves_what_it_has() {
    let (server, cache) = (
        Server::new("models/me/tiny", &FILES),
        tempfile::tempdir().unwrap(),
    );
    let hub = server.hub(cache.path());
    let offline = hub.clone().offline(true);
    let error = model(&offline, &WANTED).unwrap_err().to_string();
    for part in [
        "no revision `main`",
        "HF_HUB_OFFLINE",
        "hf download me/tiny",
        "models--me--tiny",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
    let folder = model(&hub, &WANTED).unwrap();
    server.state().asked.clear();
    assert_eq!(model(&offline, &WANTED).unwrap(), folder);
    let by_commit = format!("me/tiny@{MAIN}");
    assert_eq!(
        offline
            .resolve(RepoKind::Model, &by_commit, &WANTED)
            .unwrap(),
        folder
    );
    let error = model(&offline, &["tokenizer.json"]).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }));
    assert!(
        error.to_string().contains("`tokenizer.json` is missing"),
        "{error}"
    );
    assert_eq!(server.state().asked, [""; 0]);
}

#[test]
fn without_a_network_the_cache_serves_what_it_has() {
    let (server, cache) = (
        Server::new("models/me/tiny", &FILES),
        tempfile::tempdir().unwrap(),
    );
    let hub = server.hub(cache.path());
    let folder = model(&hub, &WANTED).unwrap();
    server.state().refusal = Some((503, "", "upgrading"));
    assert_eq!(model(&hub, &WANTED).unwrap(), folder);
    let endpoint = server.endpoint();
    drop(server);
    assert_eq!(model(&hub, &WANTED).unwrap(), folder);
    let error = model(&hub, &["tokenizer.json"]).unwrap_err();
    assert!(matches!(error, HubError::NoNetwork { .. }));
    let error = error.to_string().to_lowercase();
    for part in [
        &endpoint,
        "refused",
        "`tokenizer.json` is missing",
        "hf download me/tiny",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_partial_snapshot_is_not_served_offline() {
    let cache = tempfile::tempdir().unwrap();
    let repo = cache.path().join("datasets--me--tiny");
    let put = |file: &str, text: &str| {
        let file = repo.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    let hub = Hub::new(cache.path()).offline(true);
    let served =
        |files: &[&str]| hub.snapshot(RepoKind::Dataset, &"me/tiny".parse().unwrap(), files);
    let refused = |files: &[&str], why: &str| {
        let error = served(files).unwrap_err().to_string();
        assert!(
            error.contains(why) && error.contains("--repo-type dataset"),
            "{error}"
        );
    };
    put("refs/main", "../../elsewhere");
    refused(&["a"], "no revision `main`");
    put("refs/main", MAIN);
    refused(&["a"], "no snapshot");
    put(&format!("snapshots/{MAIN}/config.json"), "{}");
    refused(
        &["config.json", "*.safetensors"],
        "`*.safetensors` is missing",
    );
    refused(&["*.parquet"], "`*.parquet` is missing");
    #[cfg(unix)]
    {
        let link = repo.join("snapshots").join(MAIN).join("nowhere.json");
        std::os::unix::fs::symlink("../../blobs/abc", link).unwrap();
        refused(&["nowhere.json"], "`nowhere.json` is missing");
    }
    served(&["config.json", "*.index.json"]).unwrap();

    // As huggingface_hub 2.4 leaves it.
    let tree = r#"{ "format_version": 1, "files": { "config.json": { "size": 2 }, "a.md": {} } }"#;
    put(&format!("trees/{MAIN}.json"), tree);
    served(&["config.json", "*.index.json"]).unwrap();
    refused(&["config.json", "*.md"], "`a.md` is missing");
    put(&format!("trees/{MAIN}.json"), "{}");
    served(&["config.json", "*.md"]).unwrap();

    let index = r#"{ "weight_map": { "a": "model-1.safetensors", "b": "model-2.safetensors" } }"#;
    put(
        &format!("snapshots/{MAIN}/model.safetensors.index.json"),
        index,
    );
    put(&format!("snapshots/{MAIN}/model-1.safetensors"), "");
    let weights = ["config.json", "*.safetensors", "*.safetensors.index.json"];
    refused(
        &weights,
        "`model-2.safetensors`, which `model.safetensors.index.json` names",
    );
    served(&["config.json"]).unwrap();
    put(&format!("snapshots/{MAIN}/model-2.safetensors"), "");
    served(&weights).unwrap();
    put(
        &format!("snapshots/{MAIN}/model.safetensors.index.json"),
        "{ half",
    );
    refused(&weights, "can't be read");

    put(
        &format!("snapshots/{MAIN}/data/train-00000-of-00002.parquet"),
        "",
    );
    refused(
        &["*.parquet"],
        "`data/train-00001-of-00002.parquet` is missing",
    );
}

#[test]
fn a_download_that_is_broken_off_is_not_served_and_goes_on_later() {
    let (server, cache) = (
        Server::new("models/me/tiny", &FILES),
        tempfile::tempdir().unwrap(),
    );
    let hub = server.hub(cache.path());
    server.put("zzz.bin", "the last one");
    server.change("zzz.bin", |file| {
        file.sent = Some(b"the la".to_vec());
        file.late = true; // when the others are there
    });
    let error = model(&hub, &["*"]).unwrap_err();
    assert!(matches!(error, HubError::NoNetwork { .. }), "{error}");
    let offline = hub.clone().offline(true);
    let commit = format!("me/tiny@{MAIN}");
    let here = |files: &[&str]| offline.resolve(RepoKind::Model, &commit, files);
    let error = here(&["*"]).unwrap_err().to_string();
    assert!(error.contains("`zzz.bin` is missing"), "{error}");
    let folder = here(&WANTED).unwrap(); // what was asked for here is whole

    server.change("zzz.bin", |file| file.sent = None);
    server.asked_for_files();
    assert_eq!(model(&hub, &["*"]).unwrap(), folder);
    let asked = server.asked_for_files();
    assert!(
        asked.iter().all(|asked| asked.ends_with("zzz.bin")),
        "{asked:?}"
    );
    assert_eq!(content(&folder).len(), 6);
    assert_eq!(here(&["*"]).unwrap(), folder);
    let locks = content(&cache.path().join(".locks/models--me--tiny"));
    assert!(
        locks.iter().all(|(name, _)| name.ends_with(".lock")),
        "{locks:?}"
    );
}

#[test]
fn what_a_crash_left_is_checked_before_it_is_served() {
    let (server, cache) = (
        Server::new("models/me/tiny", &FILES),
        tempfile::tempdir().unwrap(),
    );
    let (hub, locks) = (
        server.hub(cache.path()),
        cache.path().join(".locks/models--me--tiny"),
    );
    let offline = hub.clone().offline(true);
    let folder = model(&hub, &WANTED).unwrap();
    let note = locks.join(format!("{MAIN}-0123456789abcdef.unchecked"));
    let weights = folder.join("model.safetensors");

    // Both files are there, but the crash came before they were checked; one is damaged.
    fs::write(&note, "2 config.json\n7 model.safetensors\n").unwrap();
    fs::write(&weights, "weighty").unwrap();
    model(&offline, &["config.json"]).unwrap(); // the weights are not asked for
    assert!(note.exists());
    let error = model(&offline, &WANTED).unwrap_err().to_string();
    assert!(error.contains("`model.safetensors` was damaged"), "{error}");
    assert!(!weights.exists() && folder.join("config.json").exists());
    let error = model(&offline, &WANTED).unwrap_err().to_string();
    assert!(error.contains("`*.safetensors` is missing"), "{error}");
    server.asked_for_files();
    model(&hub, &WANTED).unwrap();
    assert!(
        server
            .asked_for_files()
            .iter()
            .all(|asked| !asked.contains("config.json"))
    );
    assert_eq!(fs::read(&weights).unwrap(), b"weights");
    assert!(!note.exists());

    // Both are there and whole: the note has done its duty.
    fs::write(&note, "2 config.json\n7 model.safetensors\n").unwrap();
    assert_eq!(model(&offline, &WANTED).unwrap(), folder);
    assert!(!note.exists());
}

#[test]
fn revisions_move_and_the_last_whole_one_stays() {
    let (server, cache) = (
        Server::new("models/me/tiny", &FILES),
        tempfile::tempdir().unwrap(),
    );
    let hub = server.hub(cache.path());
    let old = model(&hub, &WANTED).unwrap();
    server
        .state()
        .commits
        .insert("main".to_owned(), NEXT.to_owned());
    server.put("model.safetensors", "better weights");
    server.change("model.safetensors", |file| {
        file.sent = Some(b"better".to_vec())
    });
    assert_eq!(model(&hub, &WANTED).unwrap(), old); // the network fails while it is fetched
    server.change("model.safetensors", |file| file.sent = None);
    let new = model(&hub, &WANTED).unwrap();
    assert!(new.ends_with(NEXT));
    assert_eq!(
        fs::read(new.join("model.safetensors")).unwrap(),
        b"better weights"
    );
    assert_eq!(fs::read(old.join("model.safetensors")).unwrap(), b"weights");
    assert_eq!(model(&hub.clone().offline(true), &WANTED).unwrap(), new);

    let request = hub
        .resolve(RepoKind::Model, "me/tiny@refs/pr/1", &WANTED)
        .unwrap();
    assert_eq!(request, new);
    assert!(
        cache
            .path()
            .join("models--me--tiny/refs/refs/pr/1")
            .is_file()
    );
}

#[test]
fn data_and_names_without_an_owner() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::new(
        "datasets/me/words",
        &[("data/a.parquet", "a"), ("a.txt", "b")],
    );
    let hub = server.hub(cache.path());
    let folder = hub
        .resolve(RepoKind::Dataset, "me/words", &["*.parquet"])
        .unwrap();
    assert!(folder.starts_with(cache.path().join("datasets--me--words")));
    assert_eq!(
        content(&folder),
        [("data/a.parquet".to_owned(), "a".to_owned())]
    );

    let server = Server::new("models/old", &FILES);
    let hub = server.hub(cache.path());
    let folder = hub.resolve(RepoKind::Model, "old", &WANTED).unwrap();
    assert!(folder.starts_with(cache.path().join("models--old")));
}

#[test]
fn a_folder_is_taken_as_it_is() {
    let (server, cache) = (
        Server::new("models/me/tiny", &FILES),
        tempfile::tempdir().unwrap(),
    );
    let hub = server.hub(cache.path());
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().to_str().unwrap();
    let found = hub
        .resolve(RepoKind::Model, name, &["config.json"])
        .unwrap();
    assert_eq!(found, folder.path());
    assert_eq!(server.state().asked, [""; 0]);
}

#[test]
fn the_token_is_shown_to_the_hub_alone() {
    let server = Server::new("models/me/tiny", &FILES);
    let cache = tempfile::tempdir().unwrap();
    model(&server.hub(cache.path()).token(Some("hf_secret")), &WANTED).unwrap();
    let tokens = std::mem::take(&mut server.state().tokens);
    let (elsewhere, hub): (Vec<_>, Vec<_>) = tokens
        .into_iter()
        .partition(|(host, _)| host.starts_with("localhost"));
    assert!(!elsewhere.is_empty() && elsewhere.iter().all(|(_, token)| token.is_none()));
    assert!(
        hub.iter()
            .all(|(_, token)| token.as_deref() == Some("Bearer hf_secret"))
    );

    let cache = tempfile::tempdir().unwrap();
    model(&server.hub(cache.path()), &WANTED).unwrap();
    assert!(
        server
            .state()
            .tokens
            .iter()
            .all(|(_, token)| token.is_none())
    );
}

#[test]
fn programs_that_want_the_same_wait_for_each_other() {
    let (server, cache) = (
        Server::new("models/me/tiny", &FILES),
        tempfile::tempdir().unwrap(),
    );
    let hub = server.hub(cache.path());
    server.change("model.safetensors", |file| file.late = true);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| model(&hub, &WANTED).unwrap());
        }
    });
    let asked = server.asked_for_files();
    let sent = asked
        .iter()
        .filter(|asked| asked.starts_with("GET /elsewhere"))
        .count();
    assert_eq!(sent, 1, "{asked:?}");
}
