//! How batches come about: clocks, sources, outputs, what is refused and what fails.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../../../wal/tests/common/warnings.rs"]
mod captured;
#[path = "../common/mod.rs"]
mod common;

mod by_offset;
mod clock;
mod dead_letters;
mod duplicates;
mod envelopes;
mod errors;
mod events;
mod failed_batches;
mod frame_ids;
mod observer;
mod outputs;
mod overload;
mod queries;
mod rates;
mod refused;
mod sources;
mod ticks;
mod waiting;
mod warnings;
