//! What holds of every kernel: its native form is its composition, taken in f64, to 1e-5; it stays
//! finite where its inputs are extreme; and it is the same bits on any number of threads.
#![allow(clippy::unwrap_used)]

mod cases;
mod extremes;
mod precision;
mod threads;
