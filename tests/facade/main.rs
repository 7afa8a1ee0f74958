//! The whole engine as a user has it.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod bad_input;
mod crash_matrix;
mod golden_directory;
mod golden_text_output;
mod prometheus;
mod testing_kit;
