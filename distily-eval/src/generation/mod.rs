//! Texts continued by a model.

mod config;
mod sampler;
mod text;
mod tokens;

pub use config::{GenerateError, GenerationConfig};
pub use sampler::Sampler;
pub use text::{Continuation, generate};
pub use tokens::{Finish, Generation};
