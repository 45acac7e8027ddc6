use crate::{ChatTemplate, ContentHash, DataError, Document, DocumentSource, TextTokenizer};
use rayon::prelude::*;
use std::ops::Range;

/// How documents become tokens.
///
/// ```
/// use distily_data::{DocumentEncoder, TextTokenizer};
///
/// # let words = br#"{ "model": { "type": "WordLevel", "unk_token": "?",
/// #     "vocab": { "<end>": 0, "?": 1, "a": 2, "cat": 3 } }, "pre_tokenizer": { "type": "Whitespace" } }"#;
/// # let tokenizer = TextTokenizer::from_bytes(words, std::path::Path::new("tokenizer.json"))?;
/// let encoder = DocumentEncoder {
///     end_of_text: Some(0),
///     ..DocumentEncoder::new(tokenizer)
/// };
/// let texts = ["a cat".to_owned(), "cat".to_owned()];
/// let tokens = encoder.tokens(texts.as_slice())?;
/// assert_eq!((tokens.documents(), tokens.len()), (2, 5));
/// # Ok::<(), distily_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct DocumentEncoder {
    /// Text to ids.
    pub tokenizer: TextTokenizer,
    /// The id that begins each text (Llama's `<s>`); a conversation begins as its template says.
    pub begin_of_text: Option<u32>,
    /// The id that ends each text, and counts as a target: without one, a model does not learn
    /// where to stop. A conversation ends as its template says.
    pub end_of_text: Option<u32>,
    /// How conversations are written.
    pub chat_template: Option<ChatTemplate>,
}

/// The tokens of one document.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EncodedDocument {
    pub(crate) ids: Vec<u32>,
    /// Those that do not count as targets, in their order.
    pub(crate) ignored: Vec<Range<usize>>,
}

/// Bytes of text that are encoded at a time.
const AT_A_TIME: usize = 4 << 20;

/// Raised whenever the same input becomes other tokens, or a cache's files others: old entries are then
/// entries of something else.
const VERSION: u8 = 1;

impl DocumentEncoder {
    /// An encoder that adds no tokens and knows no conversations.
    pub fn new(tokenizer: TextTokenizer) -> Self {
        Self {
            tokenizer,
            begin_of_text: None,
            end_of_text: None,
            chat_template: None,
        }
    }

    /// What the tokens of a source are: the hash of this crate's way to encode, the source's identity, the
    /// tokenizer and every option. It is the name of the cache's entry.
    ///
    /// # Errors
    ///
    /// Where the source can't be read.
    pub fn key<S: DocumentSource + ?Sized>(&self, source: &S) -> Result<ContentHash, DataError> {
        let id = |id: Option<u32>| id.map_or(vec![], |id| id.to_le_bytes().to_vec());
        let template = self.chat_template.as_ref().map(ChatTemplate::hash);
        Ok(ContentHash::of(
            "tokens",
            [
                vec![VERSION],
                source.identity()?.as_bytes().to_vec(),
                self.tokenizer.hash().as_bytes().to_vec(),
                id(self.begin_of_text),
                id(self.end_of_text),
                template.map_or(vec![], |hash| hash.as_bytes().to_vec()),
            ],
        ))
    }

    /// Encodes all documents, on all cores, and hands them on in their order.
    pub(crate) fn encode_each<S: DocumentSource + ?Sized>(
        &self,
        source: &S,
        mut each: impl FnMut(EncodedDocument) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        for (field, id) in [
            ("begin_of_text", self.begin_of_text),
            ("end_of_text", self.end_of_text),
        ] {
            if id.is_some_and(|id| id as usize >= self.tokenizer.vocabulary()) {
                return Err(DataError::Config {
                    field,
                    got: format!("{id:?}"),
                    expected: "an id of the tokenizer",
                });
            }
        }
        let mut documents = source.documents()?;
        loop {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while bytes < AT_A_TIME
                && let Some(document) = documents.next().transpose()?
            {
                bytes += document.size();
                some.push(document);
            }
            if some.is_empty() {
                return Ok(());
            }
            let encoded: Vec<EncodedDocument> = some
                .into_par_iter()
                .map(|document| self.encode(&document))
                .collect::<Result<_, _>>()?;
            encoded.into_iter().try_for_each(&mut each)?;
        }
    }

    fn encode(&self, document: &Document) -> Result<EncodedDocument, DataError> {
        match document {
            Document::Text(text) => Ok(self.text(self.tokenizer.encode_one(text)?, Vec::new())),
            Document::PromptCompletion { prompt, completion } => {
                let text = format!("{prompt}{completion}");
                let completion = prompt.len()..text.len();
                let (ids, ignored) = self.masked(&text, &[completion])?;
                Ok(self.text(ids, ignored))
            }
            Document::Chat(messages) => {
                let template = self.chat_template.as_ref().ok_or(DataError::Config {
                    field: "chat_template",
                    got: "none".to_owned(),
                    expected: "the template that conversations are written by",
                })?;
                let (text, turns) = template.assistant_turns(messages)?;
                let (ids, ignored) = self.masked(&text, &turns)?;
                Ok(EncodedDocument { ids, ignored })
            }
        }
    }

    /// A text's tokens between those that begin and end it.
    fn text(&self, ids: Vec<u32>, ignored: Vec<Range<usize>>) -> EncodedDocument {
        let begin = usize::from(self.begin_of_text.is_some());
        EncodedDocument {
            ids: self
                .begin_of_text
                .into_iter()
                .chain(ids)
                .chain(self.end_of_text)
                .collect(),
            ignored: ignored
                .into_iter()
                .map(|tokens| tokens.start + begin..tokens.end + begin)
                .collect(),
        }
    }

    /// A text's tokens, and those that share no byte with any of `learnt`, which are in their order.
    /// A token on the border counts: it has to be predicted.
    fn masked(
        &self,
        text: &str,
        learnt: &[Range<usize>],
    ) -> Result<(Vec<u32>, Vec<Range<usize>>), DataError> {
        let (ids, spans) = self.tokenizer.encode_with_spans(text)?;
        let counts = |span: &Range<usize>| {
            let next = learnt.partition_point(|learnt| learnt.end <= span.start);
            learnt
                .get(next)
                .is_some_and(|learnt| learnt.start < span.end)
        };
        let counts: Vec<bool> = spans.iter().map(counts).collect();
        let (mut ignored, mut at) = (Vec::new(), 0);
        for run in counts.chunk_by(|a, b| a == b) {
            if !run[0] {
                ignored.push(at..at + run.len());
            }
            at += run.len();
        }
        Ok((ids, ignored))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;
    use proptest::prelude::*;
    use std::path::Path;

    /// Bytes are tokens, with merges over spaces and ends of lines.
    fn tokenizer() -> TextTokenizer {
        let json = r#"{
            "added_tokens": [{ "id": 10, "content": "<end>", "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false }],
            "model": { "type": "BPE", "vocab": { "a": 0, "b": 1, "Ċ": 2, "ĊĊ": 3, "ab": 4, ":": 5, "Ġ": 6,
                "Ġa": 7, "Ã": 8, "©": 9 }, "merges": ["Ċ Ċ", "a b", "Ġ a"] },
            "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                "use_regex": false } }"#;
        TextTokenizer::from_bytes(json.as_bytes(), Path::new("bytes")).unwrap()
    }

    fn encoder() -> DocumentEncoder {
        DocumentEncoder {
            begin_of_text: Some(5),
            end_of_text: Some(10),
            ..DocumentEncoder::new(tokenizer())
        }
    }

    /// The ids, and the (start, end) of those that do not count.
    fn encoded(document: Document) -> (Vec<u32>, Vec<(usize, usize)>) {
        let encoded = encoder().encode(&document).unwrap();
        let ignored = encoded.ignored.into_iter();
        (
            encoded.ids,
            ignored.map(|tokens| (tokens.start, tokens.end)).collect(),
        )
    }

    fn pair(prompt: &str, completion: &str) -> Document {
        Document::PromptCompletion {
            prompt: prompt.to_owned(),
            completion: completion.to_owned(),
        }
    }

    #[test]
    fn a_text_is_begun_and_ended() {
        assert_eq!(
            encoded("ab a".to_owned().into()),
            (vec![5, 4, 7, 10], vec![])
        );
        assert_eq!(encoded(String::new().into()), (vec![5, 10], vec![]));
    }

    #[test]
    fn a_prompt_does_not_count() {
        assert_eq!(
            encoded(pair("ab:", " a")),
            (vec![5, 4, 5, 7, 10], vec![(1, 3)])
        );
        assert_eq!(encoded(pair("", "ab")), (vec![5, 4, 10], vec![]));
        assert_eq!(encoded(pair("ab", "")), (vec![5, 4, 10], vec![(1, 2)]));
        // A token that is half a prompt, and one that is a part of a letter.
        assert_eq!(
            encoded(pair("a\n", "\nb")),
            (vec![5, 0, 3, 1, 10], vec![(1, 2)])
        );
        assert_eq!(
            encoded(pair("é", "é")),
            (vec![5, 8, 9, 8, 9, 10], vec![(1, 3)])
        );
    }

    #[test]
    fn only_what_the_assistant_says_counts() {
        let folder = tempfile::tempdir().unwrap();
        let text = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }}<end>{% endfor %}\
            {% if add_generation_prompt %}a:{% endif %}";
        std::fs::write(folder.path().join("chat_template.jinja"), text).unwrap();
        let messages = ["a", "b\n", "ab", "\na"];
        let messages = messages.iter().zip(["bb", "a", "bb", "assistant"]);
        let messages: Vec<Message> = messages
            .map(|(text, role)| Message::new(if role == "a" { "assistant" } else { role }, *text))
            .collect();
        let chat = Document::Chat(messages);
        let problem = encoder().encode(&chat).unwrap_err().to_string();
        assert!(problem.contains("chat_template"), "{problem}");
        let encoder = DocumentEncoder {
            chat_template: Some(ChatTemplate::load(folder.path()).unwrap()),
            ..encoder()
        };
        let encoded = encoder.encode(&chat).unwrap();
        // b:a<end> a:b\n<end> b:ab<end> a:\na<end>, without a beginning and an end of its own.
        let ids = [1, 5, 0, 10, 0, 5, 1, 2, 10, 1, 5, 4, 10, 0, 5, 2, 0, 10];
        assert_eq!(encoded.ids, ids);
        assert_eq!(encoded.ignored, [0..6, 9..15]);
    }

    #[test]
    fn an_id_beyond_the_vocabulary_names_the_field() {
        let encoder = DocumentEncoder {
            end_of_text: Some(11),
            ..encoder()
        };
        let problem = encoder
            .tokens(["a".to_owned()].as_slice())
            .unwrap_err()
            .to_string();
        assert!(
            problem.starts_with("`end_of_text`: got Some(11)"),
            "{problem}"
        );
    }

    #[test]
    fn the_key_knows_every_option() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("chat_template.jinja"), "{{ messages }}").unwrap();
        let template = ChatTemplate::load(folder.path()).unwrap();
        let with = |change: &dyn Fn(&mut DocumentEncoder)| {
            let mut encoder = encoder();
            change(&mut encoder);
            encoder.key(["a".to_owned()].as_slice()).unwrap()
        };
        let keys = [
            with(&|_| {}),
            with(&|encoder| encoder.begin_of_text = None),
            with(&|encoder| encoder.begin_of_text = Some(8)),
            with(&|encoder| encoder.end_of_text = None),
            with(&|encoder| encoder.chat_template = Some(template.clone())),
            with(&|encoder| encoder.chat_template = Some(template.clone().with("day", 1))),
            with(&|encoder| encoder.chat_template = Some(template.clone().with("day", 2))),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{i}");
        }
    }

    proptest! {
        #[test]
        fn what_counts_is_what_touches_the_completion(
            prompt in "[ab\n :é]{0,12}", completion in "[ab\n :é]{0,12}",
        ) {
            let (ids, ignored) = encoded(pair(&prompt, &completion));
            // Tokens are bytes, but for pairs of them: the border may be in the middle of one.
            let bytes = |ids: &[u32]| -> usize {
                ids.iter().map(|id| if [3, 4, 7].contains(id) { 2 } else { 1 }).sum()
            };
            let all = &ids[1..ids.len() - 1];
            prop_assert_eq!(bytes(all), prompt.len() + completion.len());
            let skipped = match ignored.as_slice() {
                [] => 0,
                [(1, end)] => end - 1,
                _ => panic!("{ignored:?}"),
            };
            let before = bytes(&all[..skipped]);
            prop_assert!(before <= prompt.len());
            if let Some(next) = all.get(skipped) {
                prop_assert!(before + bytes(&[*next]) > prompt.len());
            }
        }
    }
}
