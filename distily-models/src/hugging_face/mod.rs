//! What Hugging Face's files look like, and how they map to ours.

mod config;
mod fields;
mod names;
mod rope;

pub(crate) use config::{read_config, read_ends, write_config};
pub(crate) use names::{Place, is_known_buffer, place};
