#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! * [`Wal`]: the log; [`Options`]: its settings; [`WalError`]: what can go wrong.
//! * [`recovery`]: how opening decides what the log holds, as a table.
//! * [`inspect`]: reading a log that is open elsewhere, or damaged, without changing it.
//! * [`layout`]: the bytes on disk.
//! * [`disk`]: the seam to the operating system, with the simulator that the tests use.

mod audience;
mod batch;
mod budget;
mod chain;
#[cfg(feature = "deliberate-faults")]
mod cheat;
mod chunk;
mod close;
mod commit;
mod compress;
mod cursor;
mod dump;
mod end;
mod error;
mod fitness;
mod flusher;
mod follow;
mod frame;
#[cfg(not(feature = "deliberate-faults"))]
mod honest;
pub mod inspect;
mod latency;
pub mod layout;
mod ledger;
mod log;
mod lsn;
mod meta;
mod meters;
mod options;
mod pace;
mod payload;
mod prepare;
mod read_window;
mod reader;
mod recover;
pub mod recovery;
mod retention;
mod room;
mod scan;
mod segment;
mod shared;
mod stats;
#[doc(hidden)]
pub mod turns;
mod window;

pub use budget::Pin;
#[cfg(feature = "deliberate-faults")]
#[doc(hidden)]
pub use cheat::Cheat;
#[cfg(feature = "deliberate-faults")]
use cheat::Faults;
#[cfg(not(feature = "deliberate-faults"))]
use honest::Faults;

pub use chunk::{Chunk, Frame, FrameInfo, Frames, Headers, RecordRef};
pub use error::{Finding, Result, WalError};
pub use follow::{Durable, DurableWatch, Tail, TailStopper, Tailed};
pub use frame::FrameKind;
pub use highwater_disk as disk;
pub use highwater_disk::Priority;
pub use latency::Latency;
pub use log::Wal;
pub use lsn::{Lsn, LsnRange, StreamId};
pub use options::{
    Admission, AppendOptions, Background, Compression, Durability, Options, ReadPath, WritePath,
};
pub use payload::Payload;
pub use reader::{Reader, Record, RecordKind, Records};
pub use recovery::{Case, Recovery};
pub use retention::RetentionGuard;
pub use room::{RoomFuture, Waited};
pub use stats::Stats;
