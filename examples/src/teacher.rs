use crate::{ImportFrom, RecordedFrom, RecordedTeacher};
use anyhow::Result;
use distily::hub::{Hub, RepoKind};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::path::PathBuf;

/// Who teaches.
#[derive(Debug)]
pub enum TeacherConfig {
    /// A Hugging Face folder, or the id of a model on the hub.
    Model(String),
    /// What was recorded of one.
    Recorded(RecordedTeacher),
}

/// A text, or a table: an untagged enum would say of neither what is wrong with it.
impl<'de> Deserialize<'de> for TeacherConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = TeacherConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a folder or the id of a model on the hub, or { recording = \"FOLDER\", model = \"that of the recording\" }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<TeacherConfig, E> {
                Ok(TeacherConfig::Model(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<TeacherConfig, A::Error> {
                let table = MapAccessDeserializer::new(table);
                RecordedTeacher::deserialize(table).map(TeacherConfig::Recorded)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl TeacherConfig {
    /// The files of another tool that are learnt from, if they are.
    pub(crate) fn import(&self) -> Option<&ImportFrom> {
        match self {
            Self::Recorded(RecordedTeacher {
                from: RecordedFrom::Import(import),
                ..
            }) => Some(import),
            _ => None,
        }
    }

    /// The folder with the teacher's tokenizer and configuration.
    ///
    /// # Errors
    ///
    /// Where there is no such model.
    pub fn texts(&self) -> Result<PathBuf> {
        const TEXTS: [&str; 4] = [
            "config.json",
            "generation_config*.json",
            "tokenizer*.json",
            "chat_template*",
        ];
        let (Self::Model(name) | Self::Recorded(RecordedTeacher { model: name, .. })) = self;
        Ok(Hub::from_env().resolve(RepoKind::Model, name, &TEXTS)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_teacher_is_a_model_or_a_recording() {
        let of =
            |text: &str| toml::from_str::<std::collections::BTreeMap<String, TeacherConfig>>(text);
        for recorded in [
            r#"teacher = { recording = "a", model = "b" }"#,
            r#"teacher = { recording = "a", model = "b", from = "model", hidden_layers = [3] }"#,
            r#"teacher = { recording = "a", model = "b", from = { server = { address = "http://c", model = "d" } } }"#,
            r#"teacher = { recording = "a", model = "b", from = { import = { path = "c", format = "vllm" } } }"#,
        ] {
            let recorded = of(recorded).unwrap();
            assert!(matches!(recorded["teacher"], TeacherConfig::Recorded(_)));
        }
        assert!(matches!(
            of(r#"teacher = "b""#).unwrap()["teacher"],
            TeacherConfig::Model(_)
        ));
        for (wrong, says) in [
            (r#"teacher = 3"#, "that of the recording"),
            (r#"teacher = { recording = "a" }"#, "missing field `model`"),
            (
                r#"teacher = { recording = "a", model = "b", k = 1 }"#,
                "unknown field `k`",
            ),
            (
                r#"teacher = { recording = "a", model = "b", from = "elsewhere" }"#,
                "unknown variant `elsewhere`",
            ),
            (
                r#"teacher = { recording = "a", model = "b", keep = { codec = "topk" } }"#,
                "unknown variant `topk`, expected one of `full`",
            ),
            (
                r#"teacher = { recording = "a", model = "b", from = { import = { path = "c", format = "vLLM" } } }"#,
                "expected one of `vllm`",
            ),
        ] {
            let problem = of(wrong).unwrap_err().to_string();
            assert!(problem.contains(says), "{problem}");
        }
    }
}
