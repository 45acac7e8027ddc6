//! Model and data repositories of the Hugging Face hub as local folders.
//!
//! A [`Hub`] turns a name as people write it into a folder: a folder is taken as it is, and
//! anything else is a [`RepoId`], whose files are downloaded once into the cache that the Python
//! tools use as well. Downloaded files are checked against the hub's hashes, and without a network
//! a snapshot is served from the cache if it is whole.
//!
//! ```
//! use distily_hub::{Hub, RepoId, RepoKind};
//!
//! let hub = Hub::from_env(); // HF_HOME, HF_TOKEN, HF_HUB_OFFLINE, … as for the Python tools
//!
//! # fn download(hub: &Hub) -> Result<(), distily_hub::HubError> { // needs a network
//! let model = hub.model("HuggingFaceTB/SmolLM2-135M@main")?;
//! println!("{}", model.join("config.json").display());
//! let stories = hub.resolve(RepoKind::Dataset, "roneneldan/TinyStories", &["data/*.parquet"])?;
//! # Ok(()) }
//!
//! # let folder = tempfile::tempdir()?;
//! # std::env::set_current_dir(&folder)?;
//! # std::fs::create_dir("my-model")?;
//! let mine = hub.model("my-model")?;
//! assert_eq!(mine, std::path::Path::new("my-model")); // a folder, taken as it is
//!
//! let repo: RepoId = "roneneldan/TinyStories@refs/pr/1".parse()?;
//! assert_eq!((repo.id(), repo.revision()), ("roneneldan/TinyStories", "refs/pr/1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod cache;
mod check;
mod download;
mod environment;
mod error;
mod hub;
mod id;
mod patterns;
mod progress;
mod shards;
mod unchecked;

pub use error::{HubError, Uncached};
pub use hub::Hub;
pub use id::{RepoId, RepoKind};
