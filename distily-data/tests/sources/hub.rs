//! Data sets of a hub.

use super::*;
use crate::server::Server;
use serde_json::json;

#[test]
fn a_data_set_of_the_hub_is_downloaded_as_far_as_it_is_asked_for() {
    let (server, cache) = (
        Server::new("datasets/me/stories", &[("README.md", "# Stories")]),
        tempfile::tempdir().unwrap(),
    );
    let all = stories(20);
    for (i, part) in all.chunks(10).enumerate() {
        let rows: Vec<_> = part.iter().map(|text| Some(text.as_bytes())).collect();
        let name = format!("data/train-{i:05}-of-00002.parquet");
        server.put(&name, "");
        server.change(&name, |file| {
            file.content = parquet(&rows, Compression::SNAPPY)
        });
    }
    server.put("data/test-00000-of-00001.parquet", "never read");
    server.put("stories-train.txt", "never read");
    let hub = server.hub(cache.path());
    let of = |hub: &Hub, name: &str| {
        let config = source(json!({ "name": name, "split": "train[5:15]" }));
        let corpus = config.open(hub, Path::new("nowhere"))?;
        let documents = read(corpus.train())?;
        Ok::<_, DataError>(documents.into_iter().map(text).collect::<Vec<_>>())
    };
    assert_eq!(of(&hub, "me/stories").unwrap(), all[5..15]);
    let asked = server.asked_for_files().concat();
    assert!(
        !asked.contains("test") && !asked.contains(".txt"),
        "{asked}"
    );
    assert_eq!(of(&hub, "me/stories@refs/pr/1").unwrap(), all[5..15]);

    // Without a network, and with nothing in the cache.
    let offline = hub.clone().offline(true);
    server.state().asked.clear();
    assert_eq!(of(&offline, "me/stories").unwrap(), all[5..15]);
    assert_eq!(server.state().asked, [""; 0]);
    let problem = of(&offline, "me/others").unwrap_err().to_string();
    assert!(problem.contains("HF_HUB_OFFLINE"), "{problem}");

    let problem = of(&hub, "me/others").unwrap_err().to_string();
    for part in [
        "no file or folder `me/others`",
        "dataset `me/others`",
        "HF_TOKEN",
    ] {
        assert!(problem.contains(part), "{problem}");
    }
}

#[test]
fn a_shard_that_the_cache_lacks_is_missed() {
    let server = Server::new("datasets/me/stories", &[("train-00000-of-00002.jsonl", "")]);
    let cache = tempfile::tempdir().unwrap();
    let config = source(json!({ "name": "me/stories" }));
    let problem = config.open(&server.hub(cache.path()), Path::new("."));
    let problem = problem.unwrap_err().to_string();
    assert!(problem.contains("`train-00001-of-00002`"), "{problem}");
}
