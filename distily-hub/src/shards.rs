use crate::patterns::Patterns;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A shard that is wanted and not there, though other files of the snapshot say that it exists.
pub(crate) fn missing(
    snapshot: &Path,
    files: &BTreeSet<String>,
    wanted: &Patterns,
) -> Option<String> {
    not_of_an_index(snapshot, files, wanted).or_else(|| not_of_a_number(files, wanted))
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// By `model.safetensors.index.json`, which maps the names of tensors to those of files.
fn not_of_an_index(snapshot: &Path, files: &BTreeSet<String>, wanted: &Patterns) -> Option<String> {
    for index in files {
        if !index.ends_with(".safetensors.index.json") {
            continue;
        }
        let read = std::fs::read(snapshot.join(index)).map_err(|error| error.to_string());
        let read = read.and_then(|bytes| {
            serde_json::from_slice::<Index>(&bytes).map_err(|error| error.to_string())
        });
        let shards = match read {
            Ok(index) => index.weight_map.into_values().collect::<BTreeSet<_>>(),
            Err(problem) if wanted.want(index) => {
                return Some(format!("`{index}` can't be read ({problem})"));
            }
            Err(_) => continue,
        };
        let folder = index.rfind('/').map_or("", |slash| &index[..=slash]);
        let shards = shards.iter().map(|shard| format!("{folder}{shard}"));
        let mut missing = shards.filter(|shard| wanted.want(shard) && !files.contains(shard));
        if let Some(shard) = missing.next() {
            return Some(format!("`{shard}`, which `{index}` names, is missing"));
        }
    }
    None
}

/// By names such as `train-00000-of-00004.parquet`: data has no index.
fn not_of_a_number(files: &BTreeSet<String>, wanted: &Patterns) -> Option<String> {
    let series: BTreeSet<_> = files.iter().filter_map(|file| numbered(file)).collect();
    for (stem, count, rest) in series {
        let name = |number| format!("{stem}-{number:05}-of-{count:05}{rest}");
        let absent: Vec<usize> = (0..=count)
            .filter(|&number| wanted.want(&name(number)) && !files.contains(&name(number)))
            .collect();
        // Weights are counted from 1 and data from 0: one end or the other doesn't exist.
        match absent[..] {
            [] => {}
            [end] if end == 0 || end == count => {}
            [0, other, ..] | [other, ..] => {
                return Some(format!("`{}` is missing", name(other)));
            }
        }
    }
    None
}

fn numbered(file: &str) -> Option<(&str, usize, &str)> {
    let number = |text: &str| {
        let digits = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    file.match_indices("-of-").find_map(|(at, of)| {
        let (stem, own) = file.get(..at)?.rsplit_once('-')?;
        let count = file.get(at + of.len()..at + of.len() + 5)?;
        let _: usize = number(own)?;
        Some((stem, number(count)?, &file[at + of.len() + 5..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_of(files: &[&str], wanted: &str) -> Option<String> {
        let files = files.iter().map(ToString::to_string).collect();
        missing(Path::new(""), &files, &Patterns::new(&[wanted]).unwrap())
    }

    #[test]
    fn shards_are_counted_from_0_or_1() {
        let from_0 = ["d/x-00000-of-00002.parquet", "d/x-00001-of-00002.parquet"];
        let from_1 = ["x-00001-of-00002.bin", "x-00002-of-00002.bin"];
        assert_eq!(missing_of(&from_0, "*"), None);
        assert_eq!(missing_of(&from_1, "*"), None);
        assert_eq!(missing_of(&from_0, "*-00001-of-*"), None);
        for (files, absent) in [
            (&from_0[..1], "00001"),
            (&from_0[1..], "00002"), // or 00000: it can't be known
            (&from_1[..1], "00002"),
        ] {
            let missing = missing_of(files, "*").unwrap();
            assert!(missing.contains(absent), "{missing}");
            assert_eq!(missing_of(files, "*.json"), None);
        }
    }

    #[test]
    fn other_names_are_no_shards() {
        for file in [
            "a-of-b",
            "-of-",
            "x-1-of-2.bin",
            "x-00001-of-",
            "x-00001-of-000é2",
        ] {
            assert_eq!(numbered(file), None, "{file}");
        }
    }
}
