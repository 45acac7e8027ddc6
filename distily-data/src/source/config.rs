use super::format::DataFile;
use super::layout;
use super::{Columns, Split};
use crate::DataError;
use distily_hub::{Hub, RepoId, RepoKind};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where documents come from, as a config names it.
///
/// Files are parquet (`.parquet`), JSON lines (`.jsonl`, `.json`), tables (`.csv`, `.tsv`) or plain
/// text (`.txt`); all but parquet may be compressed (`.gz`, `.zst`).
///
/// ```
/// use distily_data::SourceConfig;
///
/// let source: SourceConfig = serde_json::from_str(
///     r#"{ "name": "roneneldan/TinyStories", "split": "train[:10%]", "max_characters": 5000 }"#)?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// A file; a folder that is laid out as on the hub (`data/train-00000-of-00002.parquet`); or the
    /// id of a data set on the hub, optionally with `@revision`.
    pub name: String,
    /// The folder of the data set's subset, where it has several.
    #[serde(default)]
    pub subset: Option<String>,
    /// The split, or a slice of its rows; a file is all `train`.
    #[serde(default = "train")]
    pub split: Split,
    /// What of a row is the document.
    #[serde(default)]
    pub columns: Columns,
    /// What separates the documents of plain text; without it, a file is one.
    #[serde(default)]
    pub document_separator: Option<String>,
    /// How many rows to take, at random; without it, all of the split. Later filters leave fewer.
    #[serde(default)]
    pub sample: Option<u64>,
    /// Drops documents with fewer characters.
    #[serde(default)]
    pub min_characters: Option<usize>,
    /// Drops documents with more.
    #[serde(default)]
    pub max_characters: Option<usize>,
    /// Drops rows whose columns are null, instead of refusing them.
    #[serde(default)]
    pub skip_null: bool,
    /// The source's share of the text of several, by bytes, relative to the others' weights.
    #[serde(default)]
    pub weight: Option<f64>,
}

fn train() -> Split {
    Split::whole("train")
}

impl SourceConfig {
    /// All documents of a file, a folder or a data set on the hub.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            subset: None,
            split: train(),
            columns: Columns::default(),
            document_separator: None,
            sample: None,
            min_characters: None,
            max_characters: None,
            skip_null: false,
            weight: None,
        }
    }

    /// The files of the split, downloaded if need be.
    pub(super) fn files(&self, hub: &Hub, base: &Path) -> Result<Vec<DataFile>, DataError> {
        if self.document_separator.as_deref() == Some("") {
            return Err(DataError::Config {
                field: "document_separator",
                got: "an empty string".to_owned(),
                expected: "a string that separates documents",
            });
        }
        let local = base.join(&self.name);
        let files = if local.is_dir() {
            let names = layout::names(&local)?;
            paths(&local, &self.chosen(&names)?)
        } else if local.is_file() || DataFile::new(local.clone()).is_some() {
            if self.subset.is_some() || self.split.name() != "train" {
                return self.refuse("a file has no subset, and its split is `train`".to_owned());
            }
            vec![local]
        } else {
            self.download(hub)?
        };
        let opened = files.into_iter().map(|path| {
            let file = DataFile::new(path).map_or_else(
                || self.refuse(format!("its name ends in none of {}", DataFile::ENDINGS)),
                Ok,
            )?;
            if self.document_separator.is_some() && !file.is_text() {
                let path = file.path().display();
                return self.refuse(format!(
                    "`document_separator` is for plain text, which {path} is not"
                ));
            }
            Ok(file)
        });
        opened.collect()
    }

    fn download(&self, hub: &Hub) -> Result<Vec<PathBuf>, DataError> {
        let explain = |source| DataError::Hub {
            name: self.name.clone(),
            source,
        };
        let repo: RepoId = self.name.parse().map_err(explain)?;
        let names = hub.files(RepoKind::Dataset, &repo).map_err(explain)?;
        let chosen = self.chosen(&names)?;
        let patterns: Vec<String> = chosen.iter().map(|name| layout::escaped(name)).collect();
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let folder = hub.snapshot(RepoKind::Dataset, &repo, &patterns);
        Ok(paths(&folder.map_err(explain)?, &chosen))
    }

    fn chosen<'a>(&self, names: &'a [String]) -> Result<Vec<&'a str>, DataError> {
        layout::files(names, self.subset.as_deref(), self.split.name())
            .or_else(|problem| self.refuse(problem))
    }

    fn refuse<T>(&self, problem: String) -> Result<T, DataError> {
        Err(DataError::Source {
            name: self.name.clone(),
            problem,
        })
    }
}

fn paths(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| folder.join(name)).collect()
}
