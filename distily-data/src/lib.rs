//! From text to batches of tokens.
//!
//! A [`DocumentSource`] gives documents: a [`TextSource`] reads texts and keeps some of them apart. A
//! [`DocumentEncoder`] turns them into [`Tokens`], in memory or in a [`TokenCache`]. [`TokenRows`]
//! packs the tokens into rows of one length, and [`Batches`] of rows are addressed by (seed, epoch,
//! index). A [`Recorder`] writes down what a teacher says of rows, and a [`Recording`] teaches in its
//! place.
//!
//! ```
//! use distily_core::Seed;
//! use distily_data::{DocumentEncoder, Packing, TextSource, TextTokenizer, TokenCache, TokenRows};
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
//! let encoder = DocumentEncoder {
//!     end_of_text: Some(0),
//!     ..DocumentEncoder::new(tokenizer)
//! };
//! let tokens = TokenCache::new("cache").tokens(documents.train.as_slice(), &encoder)?;
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
mod document;
mod encoder;
mod error;
mod loss_mask;
mod packing;
mod permutation;
mod prefetch;
mod recording;
mod rows;
mod sealed;
mod source;
mod tokenizer;
mod tokens;

pub use batches::{Batches, Epoch};
pub use cache::{CacheEntry, TokenCache};
pub use chat_template::{ChatTemplate, Message};
pub use content_hash::ContentHash;
pub use document::{Document, DocumentIterator, DocumentSource};
pub use encoder::DocumentEncoder;
pub use error::DataError;
pub use packing::{Packed, Packing, Piece};
pub use permutation::Permutation;
pub use prefetch::Prefetch;
pub use recording::{
    Codec, LikelyIds, Provenance, Recorder, Recording, RecordingConfig, RecordingError,
};
pub use rows::TokenRows;
pub use source::{Documents, TextSource};
pub use tokenizer::TextTokenizer;
pub use tokens::Tokens;
