//! A log that is well: appending, committing, reading, keeping, giving up.
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

mod appends;
mod backup;
mod backwards;
mod basics;
mod budget;
mod compression;
mod concurrency;
mod cursors;
mod file_system;
mod futures;
mod growth;
mod inspect;
mod locks;
mod log_copies;
mod lone_segment;
mod no_zstd;
mod odd_numbers;
mod portable;
mod positions;
mod queue;
mod read_path;
mod reserve;
mod rest;
mod retention;
mod sealed_groups;
mod sources;
mod tail;
mod times;
mod voids;
mod waits;
