//! The page over sockets: what it shows, who is shown it, what it refuses.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod client;
mod doors;
mod feeds;
mod phases;
mod program;
mod shown;
