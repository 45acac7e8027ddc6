//! What goes wrong, and what is said about it.

use crate::server::Server;
use distily_hub::{Hub, HubError, RepoKind};
use std::path::PathBuf;

const FILES: [(&str, &str); 2] = [("config.json", "{}"), ("model.safetensors", "weights")];
const WANTED: [&str; 2] = ["config.json", "*.safetensors"];

struct Setup {
    server: Server,
    cache: tempfile::TempDir,
}

fn setup() -> Setup {
    Setup {
        server: Server::new("models/me/tiny", &FILES),
        cache: tempfile::tempdir().unwrap(),
    }
}

impl Setup {
    fn get(&self, name: &str, files: &[&str]) -> Result<PathBuf, HubError> {
        let hub = self.server.hub(self.cache.path());
        hub.snapshot(RepoKind::Model, &name.parse()?, files)
    }

    fn refused(&self, name: &str, files: &[&str], parts: &[&str]) -> HubError {
        let error = self.get(name, files).unwrap_err();
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "`{part}`: {text}");
        }
        error
    }
}

#[test]
fn what_is_not_there() {
    let setup = setup();
    let endpoint = setup.server.endpoint();
    for (name, files, parts) in [
        (
            "me/huge",
            &WANTED[..],
            &[&endpoint, "model `me/huge`", "check the name"][..],
        ),
        (
            "me/tiny@old",
            &WANTED,
            &["revision `old` of the model `me/tiny`", "a branch"],
        ),
        (
            "me/tiny",
            &["a.json"],
            &["`a.json`", "`me/tiny`", "2 files: config.json, model"],
        ),
        ("me/tiny", &["*.bin"], &["`*.bin`"]),
    ] {
        let error = setup.refused(name, files, parts);
        assert!(matches!(error, HubError::NotFound { .. }), "{error:?}");
    }
    // A hub that doesn't say which.
    setup.server.state().refusal = Some((404, "", ""));
    setup.refused(
        "me/tiny",
        &WANTED,
        &["no model `me/tiny`, or no revision `main`"],
    );
    // What strangers are told of a repository that doesn't exist.
    setup.server.state().refusal = Some((401, "RepoNotFound", "Invalid username or password."));
    setup.refused("me/tiny", &WANTED, &["no model `me/tiny`", "HF_TOKEN"]);
}

#[test]
fn what_is_not_for_everyone() {
    let setup = setup();
    for status in [401, 403] {
        let message = "Access to model me/tiny is restricted";
        setup.server.state().refusal = Some((status, "GatedRepo", message));
        let page = format!("{}/me/tiny answers {status}", setup.server.endpoint());
        let parts = [
            &page,
            message,
            "HF_TOKEN",
            "hf auth login",
            "accept its licence",
        ];
        let error = setup.refused("me/tiny", &WANTED, &parts);
        assert!(matches!(error, HubError::Token { .. }), "{error:?}");
    }
}

#[test]
fn the_files_of_a_gated_repository() {
    // The hub lists them for everyone.
    let setup = setup();
    setup.server.state().gated = true;
    let error = setup.refused("me/tiny", &WANTED, &["401", "accept its licence"]);
    assert!(matches!(error, HubError::Token { .. }), "{error:?}");
    let offline = setup.server.hub(setup.cache.path()).offline(true);
    offline
        .snapshot(RepoKind::Model, &"me/tiny".parse().unwrap(), &WANTED)
        .unwrap_err();
}

#[test]
fn a_damaged_file_is_refused_and_the_next_try_succeeds() {
    for (file, sent) in [
        ("model.safetensors", &b"weighty"[..]),
        ("model.safetensors", b"weights and more"),
        ("config.json", b"[]"),
    ] {
        let setup = setup();
        setup
            .server
            .change(file, |file| file.sent = Some(sent.to_vec()));
        let error = setup.refused("me/tiny", &WANTED, &[file, "it was removed; try again"]);
        assert!(matches!(error, HubError::Corrupt { .. }), "{error:?}");
        let offline = setup.server.hub(setup.cache.path()).offline(true);
        let commit = format!("me/tiny@{}", crate::server::MAIN).parse().unwrap();
        let error = offline
            .snapshot(RepoKind::Model, &commit, &[file])
            .unwrap_err();
        assert!(matches!(error, HubError::Offline { .. }), "{error:?}");

        setup.server.change(file, |file| file.sent = None);
        let folder = setup.get("me/tiny", &WANTED).unwrap();
        assert_eq!(std::fs::read(folder.join("config.json")).unwrap(), b"{}");
        assert_eq!(
            std::fs::read(folder.join("model.safetensors")).unwrap(),
            b"weights"
        );
    }
}

#[test]
fn an_error_page_is_not_taken_for_the_file() {
    // hf-hub doesn't look at the status of the answer that it writes to the disk.
    for file in ["model.safetensors", "config.json"] {
        let setup = setup();
        setup.server.change(file, |file| {
            file.sent = Some(b"<html>Forbidden</html>".to_vec());
            file.status = Some(403);
        });
        setup.refused("me/tiny", &WANTED, &[file]);
        setup
            .server
            .change(file, |file| (file.sent, file.status) = (None, None));
        setup.get("me/tiny", &WANTED).unwrap();
    }
}

#[test]
fn no_network() {
    let setup = setup();
    let (endpoint, hub) = (
        setup.server.endpoint(),
        setup.server.hub(setup.cache.path()),
    );
    drop(setup.server);
    let error = hub
        .resolve(RepoKind::Model, "me/tiny@v1", &WANTED)
        .unwrap_err();
    assert!(matches!(&error, HubError::Neither { source, .. }
        if matches!(**source, HubError::NoNetwork { .. })));
    let cache = setup
        .cache
        .path()
        .join("models--me--tiny")
        .display()
        .to_string();
    let command = "`hf download me/tiny --revision v1`";
    for part in [
        "no folder `me/tiny@v1`",
        &endpoint,
        &cache,
        "no revision `v1`",
        command,
    ] {
        assert!(error.to_string().contains(part), "`{part}`: {error}");
    }
}

#[test]
fn a_name_that_is_neither_a_folder_nor_a_repository() {
    let setup = setup();
    let hub = setup.server.hub(setup.cache.path());
    for (name, part) in [
        (
            "distily-no-such-folder",
            "no model `distily-no-such-folder`",
        ),
        ("./distily-no-such-folder", "is no hub id"),
        ("../../etc/distily", "is no hub id"),
    ] {
        let error = hub.resolve(RepoKind::Model, name, &WANTED).unwrap_err();
        assert!(matches!(error, HubError::Neither { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(&format!("no folder `{name}`")), "{error}");
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn an_address_that_is_none() {
    let cache = tempfile::tempdir().unwrap();
    for address in [
        "huggingface.co",
        "localhost:80",
        "",
        "http://",
        "file:///etc",
    ] {
        let hub = Hub::new(cache.path()).endpoint(address);
        let repo = "me/tiny".parse().unwrap();
        let error = hub.snapshot(RepoKind::Model, &repo, &WANTED).unwrap_err();
        assert!(
            matches!(error, HubError::Endpoint { .. }),
            "{address}: {error:?}"
        );
        assert!(error.to_string().contains("HF_ENDPOINT"));
    }
}

#[test]
fn a_hub_that_is_hostile() {
    let setup = setup();
    for name in [
        "../../../evil.safetensors",
        "/evil.safetensors",
        "a/./b.safetensors",
        "a\\b.safetensors",
    ] {
        setup.server.put(name, "evil");
        let error = setup.refused("me/tiny", &WANTED, &["lists a file named"]);
        assert!(matches!(error, HubError::Answer { .. }), "{error:?}");
        setup.get("me/tiny", &["config.json"]).unwrap();
        setup.server.state().files.remove(name);
    }
    setup
        .server
        .state()
        .commits
        .insert("main".to_owned(), "../../..".to_owned());
    let error = setup.refused("me/tiny", &WANTED, &["expected 40 digits"]);
    assert!(matches!(error, HubError::Answer { .. }), "{error:?}");
}

#[test]
fn a_disk_that_is_none() {
    let setup = setup();
    let file = setup.cache.path().join("file");
    std::fs::write(&file, "").unwrap();
    let hub = setup.server.hub(&file);
    let error = hub
        .snapshot(RepoKind::Model, &"me/tiny".parse().unwrap(), &WANTED)
        .unwrap_err();
    assert!(matches!(error, HubError::Io { .. }), "{error:?}");
}
