use crate::ModelError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The fields of a JSON object that were not read yet: what is left in the end is unknown.
pub(super) struct Fields<'a> {
    pub(super) origin: &'a str,
    pub(super) prefix: &'a str,
    pub(super) rest: Map<String, Value>,
}

impl Fields<'_> {
    pub(super) fn error(&self, field: &str, problem: impl ToString) -> ModelError {
        ModelError::config(self.origin, format!("{}{field}", self.prefix), problem)
    }

    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        field: &str,
    ) -> Result<Option<T>, ModelError> {
        match self.rest.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone())
                .map(Some)
                .map_err(|problem| self.error(field, format!("got {value}: {problem}"))),
        }
    }

    pub(super) fn or<T: DeserializeOwned>(
        &mut self,
        field: &str,
        default: T,
    ) -> Result<T, ModelError> {
        Ok(self.optional(field)?.unwrap_or(default))
    }

    pub(super) fn required<T: DeserializeOwned>(&mut self, field: &str) -> Result<T, ModelError> {
        self.optional(field)?
            .ok_or_else(|| self.error(field, "missing"))
    }

    /// A field that we know with one value only.
    pub(super) fn must_be(&mut self, field: &str, expected: Value) -> Result<(), ModelError> {
        match self.rest.remove(field) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if value == expected => Ok(()),
            Some(value) => {
                let problem = format!("got {value}, and Distily knows {expected} only");
                Err(self.error(field, problem))
            }
        }
    }

    /// Refuses what was not read, but for these fields.
    pub(super) fn finish(self, irrelevant: &[&str]) -> Result<(), ModelError> {
        match self
            .rest
            .keys()
            .find(|field| !field.starts_with('_') && !irrelevant.contains(&field.as_str()))
        {
            None => Ok(()),
            Some(field) => Err(self.error(
                field,
                "unknown field; remove it if it does not change what the model computes",
            )),
        }
    }
}
