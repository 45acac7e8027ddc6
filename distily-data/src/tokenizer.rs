use crate::{ContentHash, DataError};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

/// A `tokenizer.json`.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    file: PathBuf,
    tokenizer: Tokenizer,
    vocabulary: usize,
    hash: ContentHash,
}

impl TextTokenizer {
    /// Reads a `tokenizer.json`. Its padding and truncation are switched off: rows are packed here.
    ///
    /// # Errors
    ///
    /// [`DataError::Tokenizer`].
    pub fn load(file: &Path) -> Result<Self, DataError> {
        let bytes = std::fs::read(file).map_err(|source| DataError::Io {
            file: file.to_owned(),
            source,
        })?;
        Self::from_bytes(&bytes, file)
    }

    /// Reads the content of a `tokenizer.json`; `origin` is what errors call it.
    ///
    /// # Errors
    ///
    /// [`DataError::Tokenizer`].
    pub fn from_bytes(bytes: &[u8], origin: &Path) -> Result<Self, DataError> {
        let error = |problem: tokenizers::Error| DataError::Tokenizer {
            file: origin.to_owned(),
            problem: problem.to_string(),
        };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(error)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(error)?;
        let ids = tokenizer.get_vocab(true).into_values();
        Ok(Self {
            file: origin.to_owned(),
            vocabulary: ids.max().map_or(0, |id| id as usize + 1),
            hash: ContentHash::of_file(bytes),
            tokenizer,
        })
    }

    /// The largest id, plus one.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// What the tokenizer is: the hash of its file.
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// Whether every id has a place in a model's vocabulary.
    ///
    /// # Errors
    ///
    /// [`DataError::VocabularyTooLarge`].
    pub fn check_vocabulary(&self, model: usize) -> Result<(), DataError> {
        if self.vocabulary <= model {
            Ok(())
        } else {
            Err(DataError::VocabularyTooLarge {
                file: self.file.clone(),
                tokenizer: self.vocabulary,
                model,
            })
        }
    }

    /// The ids of each document, without special tokens; documents are spread over all cores.
    ///
    /// # Errors
    ///
    /// [`DataError::Tokenizer`].
    pub fn encode(&self, documents: &[String]) -> Result<Vec<Vec<u32>>, DataError> {
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        let encodings = self
            .tokenizer
            .encode_batch_fast(documents, false)
            .map_err(|problem| self.error(problem))?;
        Ok(encodings
            .iter()
            .map(|encoding| encoding.get_ids().to_vec())
            .collect())
    }

    /// The ids of one text, without special tokens.
    pub(crate) fn encode_one(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self.tokenizer.encode_fast(text, false);
        Ok(encoding
            .map_err(|problem| self.error(problem))?
            .get_ids()
            .to_vec())
    }

    /// The ids of one text, without special tokens, and the bytes of it that each stands for.
    pub(crate) fn encode_with_spans(
        &self,
        text: &str,
    ) -> Result<(Vec<u32>, Vec<Range<usize>>), DataError> {
        let encoding = self.tokenizer.encode(text, false);
        let encoding = encoding.map_err(|problem| self.error(problem))?;
        let spans = encoding.get_offsets().iter();
        Ok((
            encoding.get_ids().to_vec(),
            spans.map(|&(start, end)| start..end).collect(),
        ))
    }

    /// The ids of a prompt, with the special tokens that this tokenizer puts around a text (Llama's
    /// `<s>`), where it does.
    ///
    /// # Errors
    ///
    /// [`DataError::Tokenizer`].
    pub fn prompt(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self.tokenizer.encode_fast(text, true);
        Ok(encoding
            .map_err(|problem| self.error(problem))?
            .get_ids()
            .to_vec())
    }

    /// The id that this tokenizer puts before a text (Llama's `<s>`), where it does: what a model that was
    /// trained with it expects at the beginning of a document.
    ///
    /// # Errors
    ///
    /// [`DataError::Tokenizer`].
    pub fn begin_of_text(&self) -> Result<Option<u32>, DataError> {
        let (with, without) = (self.prompt("a")?, self.encode_one("a")?);
        Ok(with
            .first()
            .copied()
            .filter(|first| without.first() != Some(first)))
    }

    /// The id of a token, special or not.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// The text of ids, without special tokens.
    ///
    /// # Errors
    ///
    /// [`DataError::Tokenizer`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        self.tokenizer
            .decode(ids, true)
            .map_err(|problem| self.error(problem))
    }

    fn error(&self, problem: tokenizers::Error) -> DataError {
        DataError::Tokenizer {
            file: self.file.clone(),
            problem: problem.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &[u8] = br#"{ "model": { "type": "WordLevel", "unk_token": "?",
        "vocab": { "?": 0, "a": 1, "cat": 2, "sat": 9 } }, "pre_tokenizer": { "type": "Whitespace" } }"#;

    fn load(bytes: &[u8]) -> Result<TextTokenizer, DataError> {
        TextTokenizer::from_bytes(bytes, Path::new("model/tokenizer.json"))
    }

    #[test]
    fn text_and_back() {
        let tokenizer = load(WORDS).unwrap();
        let ids = tokenizer
            .encode(&["a cat".to_owned(), "a dog sat".to_owned()])
            .unwrap();
        assert_eq!(ids, [vec![1, 2], vec![1, 0, 9]]);
        assert_eq!(tokenizer.decode(&[1, 2]).unwrap(), "a cat");
    }

    #[test]
    fn a_text_begins_as_its_tokenizer_says() {
        assert_eq!(load(WORDS).unwrap().begin_of_text().unwrap(), None);
        let with = |single: &str| {
            let words = std::str::from_utf8(WORDS).unwrap().trim_end_matches('}');
            let begin = r#"{ "SpecialToken": { "id": "?", "type_id": 0 } }"#;
            let text = r#"{ "Sequence": { "id": "A", "type_id": 0 } }"#;
            let single = single.replace("begin", begin).replace("text", text);
            let template = format!(
                r#"{words}, "post_processor": {{ "type": "TemplateProcessing", "single": {single}, "pair": {single},
                "special_tokens": {{ "?": {{ "id": "?", "ids": [0], "tokens": ["?"] }} }} }} }}"#
            );
            load(template.as_bytes()).unwrap().begin_of_text().unwrap()
        };
        assert_eq!(with("[begin, text]"), Some(0));
        assert_eq!(with("[text, begin]"), None);
    }

    #[test]
    fn a_vocabulary_that_exceeds_the_models_names_both() {
        let tokenizer = load(WORDS).unwrap();
        assert!(tokenizer.check_vocabulary(10).is_ok());
        let error = tokenizer.check_vocabulary(9).unwrap_err().to_string();
        assert!(
            error.starts_with("model/tokenizer.json: has 10 tokens"),
            "{error}"
        );
        assert!(error.contains("vocabulary is 9"), "{error}");
    }

    #[test]
    fn what_is_no_tokenizer_names_its_file() {
        let error = load(b"{ not json").unwrap_err().to_string();
        assert!(error.starts_with("model/tokenizer.json: "), "{error}");
    }
}
