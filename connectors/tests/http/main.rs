//! The HTTP receiver: what was answered with 200 is there after any crash, once if its sender names
//! its retries; everything else was not stored.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod kills;
mod records;
mod requests;
mod retries;
