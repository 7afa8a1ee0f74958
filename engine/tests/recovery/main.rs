//! What a program finds again after power cuts, restarts and changes of its code.
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
#[path = "../../../wal/tests/common/warnings.rs"]
mod warnings;

mod changes;
mod checkpoint_store;
mod crash;
mod dry_run;
mod faults;
mod incremental;
mod losses;
mod random_programs;
mod recovery_target;
mod replay_beside;
mod same_seed;
mod savepoints;
mod stateless_log;
mod word_count;
