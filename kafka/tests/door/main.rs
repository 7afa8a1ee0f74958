//! The server through sockets, as a client that says what it likes: retries, gaps, full logs, wrong
//! types, hostile bytes. Real clients are in `tests/kafka-clients`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code"
)]

mod access;
mod client;
mod fetching;
mod hostile;
mod pressure;
mod producing;
mod topics;
