//! Operators, their state and their tables, beside models.
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

mod borrowed_keys;
mod datasets;
mod joins;
mod key_hash;
mod long_chains;
mod many_keys;
mod operators;
mod random_graphs;
mod remember;
mod state_operators;
mod stateless;
mod tables;
mod values;
mod variables;
mod window_changes;
mod window_costs;
mod windows;
