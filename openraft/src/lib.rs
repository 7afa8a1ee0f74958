#![doc = include_str!("../README.md")]
//!
//! # How it is stored
//!
//! Each entry is one record of stream 0, in the order of the indexes. The *state* (vote, committed
//! log id, purged log id, and where the entries begin that are kept) is a control record of stream
//! 1; the newest counts. So an entry's index is its number among the entries, and opening reads
//! headers of frames and three records.
//!
//! | file | holds |
//! |---|---|
//! | `store` | `LogStore`: the storage as openraft calls it |
//! | `reader` | `LogReader`: entries for replication and for the state machine |
//! | `inner` | what both share: the log, and what is known of it |
//! | `opening` | what a log holds when it is opened |
//! | `cleaner` | the thread that frees space |
//! | `suffix` | entries at the end that are given up |
//! | `current` | the index, the entries that are not durable yet, the state |
//! | `pending` | entries that the log does not show yet |
//! | `record` | entries and state as bytes |
//! | `error` | what can go wrong |

mod cleaner;
mod current;
mod error;
mod inner;
mod opening;
mod pending;
mod reader;
mod record;
mod store;
mod suffix;

pub use error::{OpenError, StoreError};
pub use opening::Settings;
pub use reader::LogReader;
pub use store::LogStore;
