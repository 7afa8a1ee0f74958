//! The HTTP receiver's transport: encryption, HTTP/2, and clients that mean harm.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod frames;

mod bounds;
mod hostile;
mod hostile_http2;
mod http2;
mod idle;
mod states;
mod tls;
