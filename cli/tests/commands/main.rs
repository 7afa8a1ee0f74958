//! The commands of `highwater`, each on what an engine wrote.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/program.rs"]
mod program;

mod bench;
mod check;
mod checkpoints;
mod dead_letters;
mod demo;
mod drop_state;
mod log;
mod replay;
mod run;
mod truth;
#[cfg(feature = "ui")]
mod ui;
