//! Connections, from the listener to their ends.
//!
//! | file | holds |
//! |---|---|
//! | `serve` | a listener, its connections, and how they end |
//! | `connection` | one connection: handshake, protocols, ends |
//! | `connections` | which connections there are, and which one goes when there is no place |
//! | `socket` | a socket that tells when its other end takes nothing |

mod connection;
mod connections;
pub mod serve;
mod socket;
