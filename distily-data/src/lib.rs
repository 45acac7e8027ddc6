//! From text to batches of tokens.
//!
//! A [`Corpus`] is data sets of the hub, folders and files, with some documents kept apart to measure
//! with; each of its sides is a [`DocumentSource`]. A [`DocumentEncoder`] turns them into [`Tokens`],
//! in memory or in a [`TokenCache`]. [`TokenRows`] packs the tokens into rows of one length, and
//! [`Batches`] of rows are addressed by (seed, epoch, index). A [`Recorder`] writes down what a teacher
//! says of rows, a live one or a [server](ServerTeacher)'s, or what another tool [kept](Import) of
//! one; and a [`Recording`] teaches in its place.
//!
//! ```
//! use distily_core::Seed;
//! use distily_data::{
//!     CorpusConfig, DocumentEncoder, Packing, SourceConfig, TextTokenizer, TokenCache, TokenRows,
//! };
//! use distily_hub::Hub;
//! use std::path::Path;
//!
//! # let folder = tempfile::tempdir()?;
//! # std::env::set_current_dir(&folder)?;
//! # let stories: String = (0..40).map(|i| format!("a cat {i} sat\n\n")).collect();
//! # std::fs::write("stories.txt", stories)?;
//! # std::fs::write("tokenizer.json", r#"{ "model": { "type": "WordLevel", "unk_token": "?",
//! #     "vocab": { "<end>": 0, "?": 1, "a": 2, "cat": 3, "sat": 4 } },
//! #     "pre_tokenizer": { "type": "Whitespace" } }"#)?;
//! let stories = SourceConfig {
//!     document_separator: Some("\n\n".to_owned()),
//!     ..SourceConfig::new("stories.txt") // or a data set on the hub
//! };
//! let config = CorpusConfig {
//!     held_out_fraction: 0.2,
//!     ..CorpusConfig::new([stories])
//! };
//! let corpus = config.open(&Hub::from_env(), Path::new("."))?;
//! let tokenizer = TextTokenizer::load(Path::new("tokenizer.json"))?;
//! tokenizer.check_vocabulary(5)?;
//! let encoder = DocumentEncoder {
//!     end_of_text: Some(0),
//!     ..DocumentEncoder::new(tokenizer)
//! };
//! let tokens = TokenCache::new("cache").tokens(&corpus.train(), &encoder)?;
//! let batches = TokenRows::pack(tokens, Packing::Wrapped, 16)?.batches(4);
//! for batch in batches.prefetched(Seed(1), 0, 2).take(10) {
//!     assert_eq!(batch?.shape(), [4, 16]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batches;
mod cache;
mod chat_template;
mod content_hash;
mod corpus;
mod document;
mod encoder;
mod error;
mod import;
mod loss_mask;
mod mix;
mod packing;
mod permutation;
mod prefetch;
mod recording;
mod rows;
mod sealed;
mod server;
mod source;
mod tokenizer;
mod tokens;

pub use batches::{Batches, Epoch};
pub use cache::{CacheEntry, TokenCache};
pub use chat_template::{ChatTemplate, Message};
pub use content_hash::ContentHash;
pub use corpus::{Corpus, CorpusConfig, CorpusSide, DocumentCounts};
pub use document::{Document, DocumentIterator, DocumentSource};
pub use encoder::DocumentEncoder;
pub use error::DataError;
pub use import::{Import, ImportFormat};
pub use packing::{Packed, Packing, Piece};
pub use permutation::Permutation;
pub use prefetch::Prefetch;
pub use recording::{
    Codec, LikelyIds, Provenance, Recorder, Recording, RecordingConfig, RecordingError,
};
pub use rows::TokenRows;
pub use server::{ServerConfig, ServerError, ServerTeacher};
pub use source::{Columns, SourceConfig, Split};
pub use tokenizer::TextTokenizer;
pub use tokens::Tokens;
