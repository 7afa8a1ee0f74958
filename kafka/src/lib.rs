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
//! | `fuzzing` | what the fuzzer feeds |

mod answers;
mod batch;
mod door;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod messages;
mod options;
mod server;
mod topics;
mod wire;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use fuzzing::{batch as fuzz_batch, request as fuzz_request};
pub use highwater_http::Tls;
pub use options::KafkaOptions;
pub use server::start::{KafkaError, KafkaServer};
