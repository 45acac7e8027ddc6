use crate::HubError;
use std::fmt;
use std::str::FromStr;

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RepoKind {
    /// A model.
    Model,
    /// Data.
    Dataset,
}

impl RepoKind {
    /// As the cache spells it.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

impl fmt::Display for RepoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
        })
    }
}

/// A repository at a revision: `owner/name`, or `name` alone for those that are older than owners
/// (`gpt2`), both optionally with `@revision`: a branch, a tag or a commit; else it is `main`.
///
/// A parsed id can't lead out of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepoId {
    id: String,
    revision: String,
}

impl RepoId {
    /// `owner/name` or `name`, without the revision.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// How to download it with the Python tools.
    pub(crate) fn command(&self, kind: RepoKind) -> String {
        let mut command = format!("hf download {}", self.id);
        if kind == RepoKind::Dataset {
            command += " --repo-type dataset";
        }
        if self.revision != MAIN {
            command += &format!(" --revision {}", self.revision);
        }
        command
    }

    /// Where a browser finds it.
    pub(crate) fn page(&self, kind: RepoKind, endpoint: &str) -> String {
        match kind {
            RepoKind::Model => format!("{endpoint}/{}", self.id),
            RepoKind::Dataset => format!("{endpoint}/datasets/{}", self.id),
        }
    }
}

const MAIN: &str = "main";

impl FromStr for RepoId {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let (id, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let parts: Vec<&str> = id.split('/').collect();
        let problem = if parts.len() > 2 {
            Some("more than one `/` before the `@`")
        } else {
            let problem = parts.iter().find_map(|part| name_problem(part));
            problem.or_else(|| revision.split('/').find_map(revision_problem))
        };
        match problem {
            Some(problem) => Err(HubError::Id {
                got: text.to_owned(),
                problem,
            }),
            None => Ok(Self {
                id: id.to_owned(),
                revision: revision.to_owned(),
            }),
        }
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

/// What the hub itself refuses in an owner or a name. Two hyphens would be taken for the `/` in
/// the names of the cache's folders.
fn name_problem(part: &str) -> Option<&'static str> {
    let edge = |c| part.starts_with(c) || part.ends_with(c);
    if part.is_empty() {
        Some("an empty owner or name")
    } else if part.len() > 96 {
        Some("more than 96 characters in an owner or a name")
    } else if edge('.') || edge('-') {
        Some("an owner or a name with a dot or a hyphen at its start or end")
    } else if part.contains("..") || part.contains("--") {
        Some("an owner or a name with `..` or `--`")
    } else if !part
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    {
        Some("a character other than a-z, A-Z, 0-9, `-`, `_` and `.` in an owner or a name")
    } else {
        None
    }
}

/// What git refuses in a part of a revision, and what some system refuses in a file's name: the
/// cache has a file for each revision.
fn revision_problem(part: &str) -> Option<&'static str> {
    if part.is_empty() {
        Some("an empty part of a revision")
    } else if part.len() > 200 {
        Some("more than 200 bytes in a part of a revision")
    } else if part.starts_with('.') || part.ends_with('.') || part.contains("..") {
        Some("a revision with a dot at the start or end of a part, or two dots")
    } else if part
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || "\\:?*[~^\"<>|".contains(c))
    {
        Some("a space or one of \\ : ? * [ ~ ^ \" < > | in a revision")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path};

    #[test]
    fn names_as_people_write_them() {
        for (text, id, revision) in [
            ("gpt2", "gpt2", "main"),
            ("gpt2@v1.0", "gpt2", "v1.0"),
            ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B", "main"),
            ("a/b@refs/pr/1", "a/b", "refs/pr/1"),
            ("a/b@x@y", "a/b", "x@y"),
            ("_a/b_", "_a/b_", "main"),
        ] {
            let repo: RepoId = text.parse().unwrap();
            assert_eq!((repo.id(), repo.revision()), (id, revision), "{text}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        let long = format!("a/{}", "b".repeat(97));
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a/b/c",
            "..",
            "../a",
            "a/..",
            ".a/b",
            "a/.b",
            "a\\b",
            "a/b\\c",
            "C:/a",
            "C:a",
            "~/a",
            "./a",
            "a b",
            "a/b ",
            "a--b/c",
            "a/b.",
            "-a/b",
            "ä/b",
            "a/b@",
            "a/b@..",
            "a/b@x/../y",
            "a/b@/x",
            "a/b@x/",
            "a/b@x//y",
            "a/b@.x",
            "a/b@x\\y",
            "a/b@x y",
            "a/b@x\n",
            "a/b@C:x",
            "a/b\0",
            &long,
        ] {
            let error = text.parse::<RepoId>().unwrap_err().to_string();
            assert!(error.contains("expected owner/name"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_parsed_stays_in_its_folder(text in "[a-c./@\\\\~: -]{0,12}|\\PC{0,12}") {
            if let Ok(repo) = text.parse::<RepoId>() {
                for part in [repo.id(), repo.revision()] {
                    let mut components = Path::new(part).components();
                    prop_assert!(components.all(|part| matches!(part, Component::Normal(_))));
                    prop_assert!(!part.contains(['\\', ':']) && !part.split('/').any(str::is_empty));
                }
                prop_assert!(repo.id().matches('/').count() < 2 && !repo.id().contains("--"));
            }
        }

        #[test]
        fn parsing_is_the_inverse_of_writing(
            id in "[a-z0-9]{1,5}(/[a-z0-9][a-z0-9_.]{0,4}[a-z0-9])?",
            revision in "main|[a-z0-9]{1,5}(/[a-z0-9@-]{1,5}){0,2}",
        ) {
            prop_assume!(!id.contains(".."));
            let repo: RepoId = format!("{id}@{revision}").parse().unwrap();
            prop_assert_eq!((repo.id(), repo.revision()), (id.as_str(), revision.as_str()));
            prop_assert_eq!(repo.to_string().parse::<RepoId>().unwrap(), repo);
        }
    }
}
