//! What the terms of an objective want of each parameter, and what to do where they disagree.

mod groups;
mod inner;
mod policy;
mod report;
mod table;
#[cfg(test)]
mod testing;

pub use policy::GradientPolicy;
pub use report::{GradientReport, GroupGradient, TermGradient};
