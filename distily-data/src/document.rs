use crate::{ContentHash, DataError, Message};
use std::borrow::Cow;

/// What a model learns to write, before it is tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A text of which every token counts.
    Text(String),
    /// A text of which only the end counts.
    PromptCompletion {
        /// What is given.
        prompt: String,
        /// What is to be learnt; it follows the prompt without anything between them.
        completion: String,
    },
    /// A conversation of which the assistant's turns count.
    Chat(Vec<Message>),
}

impl Document {
    /// Bytes of text.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::PromptCompletion { prompt, completion } => prompt.len() + completion.len(),
            Self::Chat(messages) => messages.iter().map(|message| message.content.len()).sum(),
        }
    }

    /// The text, however it is divided.
    pub(crate) fn whole_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::PromptCompletion { prompt, completion } => format!("{prompt}{completion}").into(),
            Self::Chat(messages) => {
                let texts = messages.iter().map(|message| message.content.as_str());
                texts.collect::<String>().into()
            }
        }
    }

    /// Characters of text.
    pub(crate) fn characters(&self) -> usize {
        self.whole_text().chars().count()
    }

    /// Whether there is nothing to learn in it.
    pub(crate) fn is_blank(&self) -> bool {
        let blank = |text: &str| text.trim().is_empty();
        match self {
            Self::Text(text) => blank(text),
            Self::PromptCompletion { completion, .. } => blank(completion),
            Self::Chat(messages) => messages
                .iter()
                .all(|message| message.role != "assistant" || blank(&message.content)),
        }
    }

    /// What the document is, for a hash: a letter of its kind, then its texts.
    fn parts(&self) -> Vec<&[u8]> {
        match self {
            Self::Text(text) => vec![b"t", text.as_bytes()],
            Self::PromptCompletion { prompt, completion } => {
                vec![b"p", prompt.as_bytes(), completion.as_bytes()]
            }
            Self::Chat(messages) => {
                let turns = messages
                    .iter()
                    .flat_map(|turn| [b"m", turn.role.as_bytes(), turn.content.as_bytes()]);
                [b"c".as_slice()].into_iter().chain(turns).collect()
            }
        }
    }
}

impl From<String> for Document {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Where documents come from: a file, a split of a dataset, a slice of texts.
pub trait DocumentSource {
    /// What the documents are, known without reading all of them where that is possible: sources
    /// with the same identity give the same documents in the same order. Whatever selects, splits
    /// or orders the documents is part of it.
    ///
    /// # Errors
    ///
    /// Where the source can't be read.
    fn identity(&self) -> Result<ContentHash, DataError>;

    /// The documents, from the first.
    ///
    /// # Errors
    ///
    /// Where the source can't be opened; then for each document that can't be read.
    fn documents(&self) -> Result<DocumentIterator<'_>, DataError>;
}

/// Documents one after the other, as a [`DocumentSource`] reads them.
pub type DocumentIterator<'a> = Box<dyn Iterator<Item = Result<Document, DataError>> + 'a>;

impl DocumentSource for [Document] {
    fn identity(&self) -> Result<ContentHash, DataError> {
        Ok(ContentHash::of(
            "documents",
            self.iter().flat_map(Document::parts),
        ))
    }

    fn documents(&self) -> Result<DocumentIterator<'_>, DataError> {
        Ok(Box::new(self.iter().cloned().map(Ok)))
    }
}

impl DocumentSource for [String] {
    fn identity(&self) -> Result<ContentHash, DataError> {
        Ok(ContentHash::of("texts", self))
    }

    fn documents(&self) -> Result<DocumentIterator<'_>, DataError> {
        Ok(Box::new(self.iter().cloned().map(Document::Text).map(Ok)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_documents_are_another_source() {
        let text = |text: &str| Document::Text(text.to_owned());
        let pair = |prompt: &str, completion: &str| Document::PromptCompletion {
            prompt: prompt.to_owned(),
            completion: completion.to_owned(),
        };
        let chat = |turns: &[(&str, &str)]| {
            Document::Chat(
                turns
                    .iter()
                    .map(|(role, text)| Message::new(*role, *text))
                    .collect(),
            )
        };
        let sources = [
            vec![],
            vec![text("ab")],
            vec![text("a"), text("b")],
            vec![text("b"), text("a")],
            vec![pair("a", "b")],
            vec![pair("", "ab")],
            vec![chat(&[("user", "a"), ("assistant", "b")])],
            vec![chat(&[("user", "a")]), chat(&[("assistant", "b")])],
            vec![chat(&[("user", "ab")])],
        ];
        for (i, first) in sources.iter().enumerate() {
            for second in &sources[..i] {
                assert_ne!(
                    first.as_slice().identity().unwrap(),
                    second.as_slice().identity().unwrap(),
                    "{first:?} and {second:?}"
                );
            }
        }
    }
}
