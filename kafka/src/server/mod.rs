//! The server: listening, connections, the end.
//!
//! | file | holds |
//! |---|---|
//! | `start` | starting and stopping |
//! | `listen` | accepting connections |
//! | `places` | how many there may be |
//! | `connection` | one connection |
//! | `requests` | reading its requests, and beginning to answer them |
//! | `frames` | the bytes of a request |
//! | `transport` | what it is served on, with or without encryption |

mod connection;
mod frames;
mod listen;
mod places;
mod requests;
pub(crate) mod start;
mod transport;
