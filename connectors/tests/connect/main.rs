//! Files and sockets as sources, text files as outputs.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../common/captured.rs"]
mod captured;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/hooked.rs"]
mod hooked;
#[path = "../common/incoming.rs"]
mod incoming;
#[path = "../../../tests/support/saved_seeds.rs"]
mod saved_seeds;
#[path = "../common/small.rs"]
mod small;

mod changed_files;
mod extremes;
mod file_stream;
mod line_protocol;
mod save_as_text_files;
mod socket_listen;
mod socket_text;
mod text_file_stream;
