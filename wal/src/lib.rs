#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! * [`Wal`]: the log; [`Options`]: its settings; [`WalError`]: what can go wrong.
//! * [`recovery`]: how opening decides what the log holds, as a table.
//! * [`inspect`]: reading a log that is open elsewhere, or damaged, without changing it.
//! * [`layout`]: the bytes on disk.
//! * [`disk`]: the seam to the operating system, with the simulator that the tests use.

mod append;
mod background;
mod commit;
mod control;
mod cursor;
pub mod disk;
mod entry_index;
mod error;
mod facade;
mod faults;
mod format;
pub mod inspect;
mod log;
mod lsn;
mod maintenance;
mod marks;
mod metrics;
mod options;
mod read;
pub mod recovery;
mod repair;
mod retention;
mod segment;
mod since;
mod stripe;
mod time;
mod wal;

pub use append::future::Appending;
pub use commit::future::{Durable, DurableWatch};
#[doc(hidden)]
pub use commit::group_commit;
pub use cursor::handle::Cursor;
pub use entry_index::EntryIndex;
pub use error::{Finding, Result, WalError};
#[cfg(feature = "deliberate-faults")]
#[doc(hidden)]
pub use faults::Cheat;
pub use format::frame::FrameKind;
pub use format::layout;
pub use highwater_disk::Priority;
pub use log::room::RoomFuture;
pub use lsn::{Lsn, LsnRange, StreamId};
pub use metrics::catalog::{METRICS, Metric, MetricKind, SECONDS_BUCKETS};
pub use metrics::latency::Latency;
pub use metrics::stats::Stats;
pub use options::append::{Admission, AppendOptions};
#[doc(hidden)]
pub use options::choices::Tuning;
pub use options::choices::{Background, Compression, Durability, ReadPath, WritePath};
pub use options::settings::Options;
pub use read::chunk::{Chunk, Frames};
pub use read::frame::{Frame, RecordRef, Records};
pub use read::headers::{FrameHeaders, FrameInfo};
pub use read::payload::Payload;
pub use read::reader::{Reader, Record, RecordKind};
pub use read::reverse::ReverseReader;
pub use read::tail::{Tail, TailStopper, Tailed};
pub use recovery::cases::{Case, Recovery};
pub use retention::cursors::CursorInfo;
pub use retention::guard::{LogHold, RetentionGuard};
pub use retention::room::RoomWait;
pub use segment::live::SegmentRange;
pub use wal::Wal;
