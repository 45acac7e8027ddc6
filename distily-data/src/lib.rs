//! From text to batches of tokens.
//!
//! A [`TextSource`] reads documents and keeps some of them apart, a [`TextTokenizer`] turns them
//! into ids, [`TokenRows`] packs the ids into rows of one length, and hands out batches that are
//! addressed by (seed, epoch, index).
//!
//! ```no_run
//! use distily_core::Seed;
//! use distily_data::{TextSource, TextTokenizer, TokenRows};
//! use std::path::Path;
//!
//! let source = TextSource { document_separator: Some("\n\n".into()), ..TextSource::new("stories.txt") };
//! let documents = source.read()?;
//! let tokenizer = TextTokenizer::load(Path::new("model/tokenizer.json"))?;
//! let rows = TokenRows::pack(&tokenizer.encode(&documents.train)?, 512, Some(0))?;
//! for batch in rows.epoch(Seed(1), 0, 8) {
//!     assert_eq!(batch.shape(), [8, 512]);
//! }
//! # Ok::<(), distily_data::DataError>(())
//! ```

mod error;
mod rows;
mod source;
mod tokenizer;

pub use error::DataError;
pub use rows::TokenRows;
pub use source::{Documents, TextSource};
pub use tokenizer::TextTokenizer;
