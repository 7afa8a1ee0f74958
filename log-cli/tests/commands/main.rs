//! The commands of `highwater-log`.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../common/mod.rs"]
mod common;

mod backup;
mod damage;
mod log;
mod log_tools;
