#![doc = include_str!("../README.md")]
//!
//! # Folders
//!
//! From the top down; each uses those below it.
//!
//! | folder | holds |
//! |---|---|
//! | `streams` | `Streams`, the handle: the public interface |
//! | `upkeep` | what goes on beside requests: checkpoints, ends, space |
//! | `recovery` | the start: checkpoints of the table, and the frames after them |
//! | `writing` | creating, forking, appending, closing, deleting |
//! | `reading` | reading at a position, finding frames, waiting, looking |
//! | `shared` | what all of them share: the log, the table, who waits, decisions |
//! | `state` | what is known of streams, as their frames say |
//! | `interface` | what is asked and told |
//! | `frame` | what a frame of a stream is made of |
//! | `options`, `error` | settings; errors |

mod error;
mod frame;
mod interface;
mod options;
mod reading;
mod recovery;
mod shared;
mod state;
mod streams;
mod upkeep;
mod writing;

pub use error::{Error, Result};
pub use frame::batch::Batch;
pub use frame::config::{Lifetime, Retention};
pub use interface::json::{BadJson, json_message, json_messages};
pub use interface::media_type::{RECORDS, is_json, is_records};
pub use interface::position::{BadPosition, Position};
pub use interface::record::RecordRef;
pub use interface::refusal::Refusal;
pub use interface::requests::{
    Append, Appended, Created, From, NewStream, Page, Producer, Source, StreamInfo, Then,
};
pub use options::Options;
pub use reading::follow::Changed;
pub use shared::decision::Decision;
pub use streams::{Stats, Streams};
pub use upkeep::meters::METRICS;
