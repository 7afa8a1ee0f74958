#![doc = include_str!("../README.md")]
//!
//! # Files and folders
//!
//! From the top down; each uses those below it.
//!
//! | file or folder | holds |
//! |---|---|
//! | `server` | listening, connections, the end |
//! | `answers` | what is done for a request, and what its client is told |
//! | `door` | what all connections share |
//! | `topics` | which stream is which partition of which topic |
//! | `options` | settings |
//! | `messages` | requests and their answers |
//! | `batch` | batches of records |
//! | `wire` | numbers, texts, lists, heads |

mod answers;
mod batch;
mod door;
mod messages;
mod options;
mod server;
mod topics;
mod wire;

pub use highwater_http::Tls;
pub use options::KafkaOptions;
pub use server::start::{KafkaError, KafkaServer};
