//! Which files of a folder or a repository are those of a split.

use super::format::DataFile;
use crate::DataError;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The splits that a file's name may say.
const SPLITS: [&str; 7] = ["train", "test", "validation", "valid", "val", "dev", "eval"];

/// A data file: `data/SUBSET/SPLIT-00000-of-00002.parquet`, or `SUBSET/SPLIT/any.parquet`.
struct Named<'a> {
    path: &'a str,
    /// Its folders, but for `data`.
    folders: Vec<&'a str>,
    /// Its name without the format and the shard.
    stem: &'a str,
    format: &'static str,
    /// Its number among how many.
    shard: Option<(usize, usize)>,
}

impl<'a> Named<'a> {
    /// `None` for what is no data, or hidden.
    fn new(path: &'a str) -> Option<Self> {
        let hidden = |part: &str| part.starts_with('.') || part.starts_with("__");
        if path.split('/').any(hidden) {
            return None;
        }
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (stem, format) = DataFile::stem(name)?;
        let folders = folders.split('/');
        let (stem, shard) = match shard(stem) {
            Some((stem, shard)) => (stem, Some(shard)),
            None => (stem, None),
        };
        Some(Self {
            path,
            folders: folders
                .filter(|folder| !["", "data"].contains(folder))
                .collect(),
            stem,
            format,
            shard,
        })
    }

    fn is(&self, split: &str) -> bool {
        self.stem == split || self.folders.last() == Some(&split)
    }

    fn mentions(&self, split: &str) -> bool {
        self.stem
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| word.eq_ignore_ascii_case(split))
    }

    fn subset(&self, split: &str) -> String {
        let folders = self.folders.iter().copied();
        folders
            .filter(|folder| *folder != split)
            .collect::<Vec<_>>()
            .join("/")
    }
}

/// `NAME-00000-of-00002`, after which the hub may add a hash.
fn shard(stem: &str) -> Option<(&str, (usize, usize))> {
    let number = |text: &str| {
        let digits = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let (before, after) = stem.split_once("-of-")?;
    let (stem, own) = before.rsplit_once('-')?;
    let count = after.split('-').next()?;
    Some((stem, (number(own)?, number(count)?)))
}

/// The files of a split, in their order. The error says what there is.
pub(super) fn files<'a>(
    names: &'a [String],
    subset: Option<&str>,
    split: &str,
) -> Result<Vec<&'a str>, String> {
    let all: Vec<Named<'a>> = names.iter().filter_map(|name| Named::new(name)).collect();
    let those = |of: &dyn Fn(&&Named<'a>) -> bool| all.iter().filter(of).collect::<Vec<_>>();
    // Those of the split's name; or with that word in theirs; or all, if none has a split's name.
    let mut of_split = those(&|file| file.is(split));
    if of_split.is_empty() {
        of_split = those(&|file| file.mentions(split));
        // Parts of one split are counted; what else differs may be another split.
        let counted = |stem: &str| {
            stem.trim_end_matches(|c: char| c.is_ascii_digit())
                .to_owned()
        };
        let stems: BTreeSet<String> = of_split.iter().map(|file| counted(file.stem)).collect();
        if stems.len() > 1 {
            let several = listed("has several that may be it", stems.into_iter());
            return Err(format!(
                "has no split `{split}`, but {several}: name one as `split`"
            ));
        }
    }
    let named = |file: &&Named<'_>| {
        SPLITS
            .iter()
            .any(|split| file.is(split) || file.mentions(split))
    };
    if of_split.is_empty() && split == "train" && those(&named).is_empty() {
        of_split = those(&|_| true);
    }
    if of_split.is_empty() {
        return Err(format!(
            "has no files of the split `{split}` such as `data/{split}-00000-of-00001.parquet`; {}",
            listed(
                "its data files are",
                all.iter().map(|file| file.path.to_owned())
            )
        ));
    }
    let mut subsets = BTreeMap::<String, Vec<&Named<'a>>>::new();
    for file in of_split {
        subsets.entry(file.subset(split)).or_default().push(file);
    }
    let wanted = match subset {
        Some(subset) => subset,
        None if subsets.contains_key("") => "",
        None if subsets.contains_key("default") => "default",
        None if subsets.len() == 1 => subsets.keys().next().map_or("", |only| only),
        None => {
            let subsets = listed("has the subsets", subsets.into_keys());
            return Err(format!("{subsets}: choose one as `subset`"));
        }
    };
    let Some(chosen) = subsets.get(wanted) else {
        let subsets = subsets.keys().filter(|name| !name.is_empty()).cloned();
        let subsets = listed("its subsets are", subsets);
        return Err(format!(
            "has no subset `{wanted}` with the split `{split}`; {subsets}"
        ));
    };
    check(chosen)?;
    let mut paths: Vec<&str> = chosen.iter().map(|file| file.path).collect();
    paths.sort_unstable();
    Ok(paths)
}

/// That all shards are there, and all in one format.
fn check(chosen: &[&Named<'_>]) -> Result<(), String> {
    let formats: BTreeSet<&str> = chosen.iter().map(|file| file.format).collect();
    if formats.len() > 1 {
        let formats = listed("", formats.into_iter().map(str::to_owned));
        return Err(format!(
            "has the same in several formats ({formats}): name one file"
        ));
    }
    let mut series = BTreeMap::<_, BTreeSet<usize>>::new();
    for file in chosen {
        if let Some((number, count)) = file.shard {
            series
                .entry((&file.folders, file.stem, count))
                .or_default()
                .insert(number);
        }
    }
    for ((_, stem, count), there) in series {
        if let Some(missing) = (0..count).find(|number| !there.contains(number)) {
            return Err(format!(
                "lacks a part of its data, `{stem}-{missing:05}-of-{count:05}`: download it"
            ));
        }
    }
    Ok(())
}

fn listed(what: &str, names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "it has no data files that can be read".to_owned(),
        1..=12 => format!("{what} {}", names.join(", ")).trim().to_owned(),
        more => format!("{what} {} and {} more", names[..12].join(", "), more - 12),
    }
}

/// The names of all files below a folder, with `/` between folders.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    walk(folder, "", &mut names)?;
    Ok(names)
}

fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), DataError> {
    for entry in std::fs::read_dir(folder).map_err(DataError::io(folder))? {
        let path = entry.map_err(DataError::io(folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let name = format!("{prefix}{name}");
        if path.is_file() {
            names.push(name);
        } else if path.is_dir() && !path.is_symlink() {
            walk(&path, &format!("{name}/"), names)?;
        }
    }
    Ok(())
}

/// A file's name as a glob that matches nothing else.
pub(super) fn escaped(name: &str) -> String {
    let mut glob = String::with_capacity(name.len());
    for c in name.chars() {
        if "?*[]{}\\".contains(c) {
            glob.push('\\');
        }
        glob.push(c);
    }
    glob
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], subset: Option<&str>, split: &str) -> Result<String, String> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        files(&names, subset, split).map(|files| files.join(" "))
    }

    #[test]
    fn layouts_of_the_hub() {
        let stories = [
            "README.md",
            "TinyStories-train.txt",
            "TinyStories-valid.txt",
            "TinyStories_all_data.tar.gz",
            "data/train-00001-of-00002-aa.parquet",
            "data/train-00000-of-00002-bb.parquet",
            "data/validation-00000-of-00001-cc.parquet",
        ];
        let train = "data/train-00000-of-00002-bb.parquet data/train-00001-of-00002-aa.parquet";
        assert_eq!(chosen(&stories, None, "train").unwrap(), train);
        assert_eq!(
            chosen(&stories, None, "valid").unwrap(),
            "TinyStories-valid.txt"
        );
        let chat = [
            "data/train_gen-00000-of-00001.parquet",
            "data/train_sft-00000-of-00001.parquet",
        ];
        assert_eq!(chosen(&chat, None, "train_sft").unwrap(), chat[1]);
        let parts = ["a-train-1.csv", "a-train-2.csv", "a-test.csv"];
        assert_eq!(
            chosen(&parts, None, "train").unwrap(),
            "a-train-1.csv a-train-2.csv"
        );
        let converted = [
            "default/test/0000.parquet",
            "default/train/0000.parquet",
            "de/train/0000.parquet",
        ];
        assert_eq!(chosen(&converted, None, "train").unwrap(), converted[1]);
        assert_eq!(
            chosen(&converted, Some("de"), "train").unwrap(),
            converted[2]
        );
        let plain = ["a.jsonl.gz", "b.jsonl.gz", ".hidden.jsonl"];
        assert_eq!(
            chosen(&plain, None, "train").unwrap(),
            "a.jsonl.gz b.jsonl.gz"
        );
    }

    #[test]
    fn what_is_not_there_is_told_by_what_is() {
        let wiki = [
            "v1/train-00000-of-00001.parquet",
            "v2/train-00000-of-00001.parquet",
        ];
        let error = |names: &[&str], subset, split| chosen(names, subset, split).unwrap_err();
        assert_eq!(
            error(&wiki, None, "train"),
            "has the subsets `v1`, `v2`: choose one as `subset`"
        );
        assert!(error(&wiki, Some("v3"), "train").ends_with("its subsets are `v1`, `v2`"));
        assert!(error(&wiki, None, "test").contains("its data files are `v1/train-"));
        let chat = [
            "data/train_gen-00000-of-00001.parquet",
            "data/train_sft.parquet",
        ];
        assert_eq!(
            error(&chat, None, "train"),
            "has no split `train`, but has several that may be it `train_gen`, `train_sft`: name one as `split`"
        );
        assert!(error(&["README.md"], None, "train").contains("no data files"));
        assert!(error(&["train.csv", "train.jsonl"], None, "train").contains("`csv`, `jsonl`"));
        let part = [
            "data/train-00000-of-00003.parquet",
            "data/train-00002-of-00003.parquet",
        ];
        assert!(error(&part, None, "train").contains("`train-00001-of-00003`"));
    }

    #[test]
    fn an_escaped_name_is_plain_where_it_can_be() {
        assert_eq!(
            escaped("data/train-00000-of-00001.txt"),
            "data/train-00000-of-00001.txt"
        );
        assert_eq!(escaped("a[1]*.txt"), "a\\[1\\]\\*.txt");
    }
}
