//! From text to batches of tokens.
//!
//! A [`TextSource`] reads documents and keeps some of them apart, a [`TextTokenizer`] turns them
//! into ids, [`TokenRows`] packs the ids into rows of one length, and hands out batches that are
//! addressed by (seed, epoch, index).
//!
//! ```
//! use distily_core::Seed;
//! use distily_data::{TextSource, TextTokenizer, TokenRows};
//! use std::path::Path;
//!
//! # let folder = tempfile::tempdir()?;
//! # std::env::set_current_dir(&folder)?;
//! # let stories: String = (0..40).map(|i| format!("a cat {i} sat\n\n")).collect();
//! # std::fs::write("stories.txt", stories)?;
//! # std::fs::write("tokenizer.json", r#"{ "model": { "type": "WordLevel", "unk_token": "?",
//! #     "vocab": { "<end>": 0, "?": 1, "a": 2, "cat": 3, "sat": 4 } },
//! #     "pre_tokenizer": { "type": "Whitespace" } }"#)?;
//! let source = TextSource {
//!     document_separator: Some("\n\n".to_owned()),
//!     held_out_fraction: 0.2,
//!     ..TextSource::new("stories.txt")
//! };
//! let documents = source.read()?;
//! let tokenizer = TextTokenizer::load(Path::new("tokenizer.json"))?;
//! tokenizer.check_vocabulary(5)?;
//! let rows = TokenRows::pack(&tokenizer.encode(&documents.train)?, 16, Some(0))?;
//! for batch in rows.epoch(Seed(1), 0, 4) {
//!     assert_eq!(batch.shape(), [4, 16]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chat_template;
mod error;
mod rows;
mod source;
mod tokenizer;

pub use chat_template::{ChatTemplate, Message};
pub use error::DataError;
pub use rows::TokenRows;
pub use source::{Documents, TextSource};
pub use tokenizer::TextTokenizer;
