//! A log after power cuts, failures and damage.
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
#[path = "../../../fuzz/src/lib.rs"]
mod targets;

mod corruption;
mod crash;
mod crash_test;
mod disasters;
mod faults;
mod fuzz;
mod golden;
mod hot_copy;
mod recovery;
mod repair;
mod same_seed;
