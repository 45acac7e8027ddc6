//! What the examples share: stories without end, the device that the features chose, training with a
//! progress bar, and the table of what came out.
#![allow(clippy::print_stdout)]

mod device;
mod report;
mod stories;
mod train;

pub use device::device;
pub use report::{Measured, compare, measure};
pub use stories::Stories;
pub use train::{Progress, train};

/// The README's code is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
