use super::cell::{Cell, Row};
use crate::{Document, Message};
use serde::{Deserialize, Serialize};

/// The columns that make up a document.
///
/// ```
/// use distily_data::Columns;
///
/// let columns: Columns = serde_json::from_str(r#"{ "text": "story" }"#)?;
/// assert_eq!(columns, Columns::Text("story".into()));
/// # let _: Columns = serde_json::from_str(
/// #     r#"{ "prompt_completion": { "prompt": "question", "completion": "answer" } }"#)?;
/// # let _: Columns = serde_json::from_str(r#"{ "chat": { "messages": "messages" } }"#)?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Columns {
    /// A column of texts; that of a plain text file is `text`.
    Text(String),
    /// Two columns of text, of which the second is learnt.
    PromptCompletion {
        /// What is given.
        prompt: String,
        /// What follows it.
        completion: String,
    },
    /// A column of conversations: lists of records with a role and a content. The roles `human` and
    /// `gpt` are `user` and `assistant`.
    Chat {
        /// The column.
        messages: String,
        /// The field of a message's role.
        #[serde(default = "role")]
        role: String,
        /// The field of a message's text.
        #[serde(default = "content")]
        content: String,
    },
}

fn role() -> String {
    "role".to_owned()
}

fn content() -> String {
    "content".to_owned()
}

impl Default for Columns {
    fn default() -> Self {
        Self::Text("text".to_owned())
    }
}

impl Columns {
    /// Those that a row must have.
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Self::Text(column) => vec![column],
            Self::PromptCompletion { prompt, completion } => vec![prompt, completion],
            Self::Chat { messages, .. } => vec![messages],
        }
    }

    /// The document of a row that has the columns; `None` if a part of it is null. The error says
    /// what is wrong with the row.
    pub(crate) fn document(&self, mut row: Row) -> Result<Option<Document>, String> {
        let mut text = |column: &str| text(take(&mut row, column).unwrap_or(Cell::Null), column);
        Ok(match self {
            Self::Text(column) => text(column)?.map(Document::Text),
            Self::PromptCompletion { prompt, completion } => {
                let (prompt, completion) = (text(prompt)?, text(completion)?);
                let both = prompt.zip(completion);
                both.map(|(prompt, completion)| Document::PromptCompletion { prompt, completion })
            }
            Self::Chat {
                messages,
                role,
                content,
            } => match take(&mut row, messages) {
                None | Some(Cell::Null) => None,
                Some(Cell::List(turns)) => turns
                    .into_iter()
                    .map(|turn| message(turn, messages, role, content))
                    .collect::<Result<Option<_>, _>>()?
                    .map(Document::Chat),
                Some(other) => return Err(unlike(messages, other.kind(), "a list of messages")),
            },
        })
    }
}

fn message(turn: Cell, column: &str, role: &str, content: &str) -> Result<Option<Message>, String> {
    let mut record = match turn {
        Cell::Null => return Ok(None),
        Cell::Record(record) => record,
        other => {
            let what = format!("a list of {}", other.kind());
            return Err(unlike(column, &what, "a list of records"));
        }
    };
    if let Some(Cell::List(calls)) = take(&mut record, "tool_calls")
        && !calls.is_empty()
    {
        return Err(format!(
            "a message of `{column}` calls tools (`tool_calls`), of which only role and content would be written: leave such rows out, or write the calls into the content"
        ));
    }
    let mut field = |name: &str| match take(&mut record, name) {
        Some(cell) => text(cell, name),
        None => {
            let has: Vec<&str> = record.iter().map(|(name, _)| name.as_str()).collect();
            let has = has.join("`, `");
            Err(format!(
                "a message of `{column}` has no field `{name}`; it has `{has}`: name the right ones as `role` and `content` of `columns.chat`"
            ))
        }
    };
    let (Some(role), Some(content)) = (field(role)?, field(content)?) else {
        return Ok(None);
    };
    let role = match role.as_str() {
        "human" => "user".to_owned(),
        "gpt" => "assistant".to_owned(),
        _ => role,
    };
    Ok(Some(Message { role, content }))
}

fn text(cell: Cell, column: &str) -> Result<Option<String>, String> {
    match cell {
        Cell::Null => Ok(None),
        Cell::Text(text) => Ok(Some(text)),
        Cell::List(_) => Err(format!(
            "`{column}` is a list, expected text: name another column in `columns`, or write the texts of its parts together"
        )),
        other => Err(unlike(column, other.kind(), "text")),
    }
}

fn unlike(column: &str, got: &str, expected: &str) -> String {
    format!("`{column}` is {got}, expected {expected}: name another column in `columns`")
}

fn take(row: &mut Row, column: &str) -> Option<Cell> {
    let at = row.iter().position(|(name, _)| name == column)?;
    Some(row.swap_remove(at).1)
}
