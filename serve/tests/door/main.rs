//! The server as clients meet it: what the public suite of the protocol does not ask.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod access;
mod bounds;
mod client;
mod live;
