use crate::HubError;
use globset::{GlobBuilder, GlobMatcher};
use std::collections::BTreeSet;

/// The files that a program asks for. As in the Python tools, `*` matches `/` as well.
#[derive(Debug)]
pub(crate) struct Patterns(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    text: String,
    matcher: GlobMatcher,
    required: bool,
}

impl Patterns {
    pub(crate) fn new(patterns: &[&str]) -> Result<Self, HubError> {
        let read = |&pattern: &&str| {
            let glob = GlobBuilder::new(pattern)
                .backslash_escape(true)
                .build()
                .map_err(|error| HubError::Pattern {
                    pattern: pattern.to_owned(),
                    problem: error.kind().to_string(),
                })?;
            Ok(Pattern {
                text: pattern.to_owned(),
                matcher: glob.compile_matcher(),
                // A model without weights is no model, whichever names they have.
                required: !pattern.contains(['*', '?', '[', '{', '\\'])
                    || pattern.ends_with("*.safetensors"),
            })
        };
        if patterns.is_empty() {
            return Err(HubError::Pattern {
                pattern: String::new(),
                problem: "there is none".to_owned(),
            });
        }
        patterns
            .iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) fn want(&self, file: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matcher.is_match(file))
    }

    /// What must be among the files of a repository, and isn't.
    pub(crate) fn unmet(&self, files: &BTreeSet<String>) -> Option<&str> {
        let met = |pattern: &Pattern| files.iter().any(|file| pattern.matcher.is_match(file));
        let unmet = self
            .0
            .iter()
            .find(|pattern| pattern.required && !met(pattern));
        match unmet {
            Some(pattern) => Some(&pattern.text),
            // Wildcards may match nothing, but not all of them.
            None if self.0.iter().any(met) => None,
            None => self.0.first().map(|pattern| pattern.text.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_there() {
        let files = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let patterns = Patterns::new(&["config.json", "*.safetensors", "tok*"]).unwrap();
        assert_eq!(patterns.unmet(&files(&["tokens"])), Some("config.json"));
        let unmet = ["config.json", "model.safetensors.index.json"];
        assert_eq!(patterns.unmet(&files(&unmet)), Some("*.safetensors"));
        assert_eq!(
            patterns.unmet(&files(&["config.json", "a/b.safetensors"])),
            None
        );
        let patterns = Patterns::new(&["*.md", "*.txt"]).unwrap();
        assert_eq!(patterns.unmet(&files(&["a.json"])), Some("*.md"));
        assert_eq!(patterns.unmet(&files(&["a/b.txt"])), None);
        assert!(patterns.want("a/b.md") && !patterns.want("md"));
    }

    #[test]
    fn what_is_no_pattern() {
        for (patterns, problem) in [(&["[a"][..], "unclosed"), (&[], "there is none")] {
            let error = Patterns::new(patterns).unwrap_err().to_string();
            assert!(
                error.contains(problem) && error.contains("expected"),
                "{error}"
            );
        }
    }
}
