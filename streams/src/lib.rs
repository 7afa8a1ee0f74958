#![doc = include_str!("../README.md")]
//!
//! # Files
//!
//! From the top down; each uses those below it.
//!
//! | file | holds |
//! |---|---|
//! | `streams` | `Streams`, the handle: the public interface |
//! | `keeper` | what goes on beside requests |
//! | `meters` | what of it is a metric |
//! | `moving`, `trim` | moving data so that the log can be freed; giving up what is not to be kept |
//! | `snapshot`, `entry` | checkpoints of the table; a stream in one |
//! | `recover` | the start: the table as the frames of the log say |
//! | `create` | creating streams, and forks of them |
//! | `append` | appending, closing, deleting |
//! | `read`, `gather` | reading at a position; what a page is put together from |
//! | `info` | looking at a stream |
//! | `search` | finding frames by their links |
//! | `follow` | waiting for a stream to change |
//! | `decision` | what was decided, and is not to be told before it lasts |
//! | `core` | what all of them share: the log, the table, who waits |
//! | `waiters` | who waits for a stream, and which streams are about to change |
//! | `table` | all streams, by name and by number |
//! | `stream`, `producers` | one stream: what its frames say of it; who has appended |
//! | `links` | how a frame is found without an index |
//! | `envelope`, `config`, `codec` | the first record of a frame; of the first frame; numbers and texts |
//! | `json`, `media_type`, `bounds` | bodies of JSON streams; content types; how long texts may be |
//! | `requests`, `refusal`, `position`, `options`, `error` | what is asked and told; settings; errors |

mod append;
mod bounds;
mod codec;
mod config;
mod core;
mod create;
mod decision;
mod entry;
mod envelope;
mod error;
mod follow;
mod gather;
mod info;
mod json;
mod keeper;
mod links;
mod media_type;
mod meters;
mod moving;
mod options;
mod position;
mod producers;
mod read;
mod recover;
mod refusal;
mod requests;
mod search;
mod snapshot;
mod stream;
mod streams;
mod table;
mod trim;
mod waiters;

pub use config::{Lifetime, Retention};
pub use decision::Decision;
pub use error::{Error, Result};
pub use follow::Changed;
pub use json::{BadJson, json_messages};
pub use media_type::is_json;
pub use meters::METRICS;
pub use options::Options;
pub use position::{BadPosition, Position};
pub use refusal::Refusal;
pub use requests::{
    Append, Appended, Created, From, NewStream, Page, Producer, Source, StreamInfo, Then,
};
pub use streams::{Stats, Streams};
