//! The crate against a hub on this machine.

#![allow(clippy::unwrap_used)]

mod failures;
mod server;
mod snapshots;
