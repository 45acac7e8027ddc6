//! What the examples share: stories without end, what a configuration says and its data, the device
//! that the features chose, training with a progress bar, and the table of what came out.
#![allow(clippy::print_stdout)]

mod config;
mod device;
mod distillation;
mod recorded;
mod report;
mod rows;
mod stories;
mod student;
mod teacher;
mod train;

pub use config::{Config, Data, Evaluation};
pub use device::device;
pub use distillation::trainer;
pub use recorded::{ImportFrom, RecordedFrom, RecordedTeacher};
pub use report::{Measured, compare, measure};
pub use rows::{Documents, Rows};
pub use stories::Stories;
pub use student::Student;
pub use teacher::TeacherConfig;
pub use train::{Progress, train};

/// The README's code is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
