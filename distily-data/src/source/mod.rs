//! Documents from a data set of the hub, a folder that is laid out like one, or a file.

mod cell;
mod columns;
mod config;
mod format;
mod layout;
mod split;
mod taken;

pub use columns::Columns;
pub use config::SourceConfig;
pub(crate) use format::{DataFile, Records};
pub use split::Split;
pub(crate) use taken::{Dropped, Source, Taken};
