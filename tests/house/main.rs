//! The documents, the packages and the tests themselves are as they say.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../support/operators.rs"]
mod operators;

mod fault_cases;
mod guide;
mod operator_table;
mod packages;
mod systemd_unit;
