//! Checkpoints in directories and in stores that the tests make: content, damage, failures, several
//! writers.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../../tests/support/saved_seeds.rs"]
mod saved_seeds;

mod damage;
mod faults;
mod fencing;
mod golden;
mod incremental;
mod layouts;
mod losses;
mod odd_numbers;
mod offline;
mod power;
mod reading;
mod roundtrip;
mod unreliable;
