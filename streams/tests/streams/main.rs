//! The streams against a model: whatever is asked, and wherever the power is cut.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

#[path = "../../../tests/support/saved_seeds.rs"]
mod saved_seeds;

mod crash;
mod faults;
mod forks;
mod lives;
mod model;
mod numbered;
mod random;
mod reading;
mod space;
mod together;
mod waiting;
mod when;
mod world;
