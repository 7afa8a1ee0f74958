//! Looking into a log without touching it: a log of this process, one that another process has
//! open, or a damaged one.
//!
//! | file | holds |
//! |---|---|
//! | `log` | a log that is only looked at: its segments, its end |
//! | `dump` | the frames of a log as a tool shows them |
//! | `follow` | the frames of a log that another process writes, as they become durable |
//! | `last` | the last records of a log, found from its end |
//! | `lone` | one segment file, without the other files of its log |
//! | `stats` | what a log consists of, counted frame by frame |
//! | `verify` | every byte checked, with all cores |
//! | `times` | when the records of a log were durable |
//! | `moving` | a log that another process truncates meanwhile |
//!
//! Nothing here writes to the log, or maps it. Files are read with plain reads, so that a bad
//! sector is an error and not a signal. [`Log`] takes no lock: a log that is being written may seem
//! to end in a torn frame, because its last frames are being copied. [`repair`] and [`salvage`]
//! keep writers away while they read, and write a new log elsewhere.
//!
//! ```
//! # fn main() -> highwater_wal::Result<()> {
//! # let dir = tempfile::tempdir().expect("a temporary directory");
//! # let log = highwater_wal::Wal::open(dir.path())?;
//! # let _ = log.append("hello")?;
//! # log.close()?;
//! use highwater_wal::{Lsn, disk::OsDisk, inspect};
//! use std::sync::Arc;
//!
//! let log = inspect::Log::open(Arc::new(OsDisk::new()), dir.path())?;
//! for frame in log.frames(Lsn::ZERO)? {
//!     let frame = frame?;
//!     println!("{} {} {:?}", frame.lsn, frame.kind, frame.payload);
//! }
//! let report = log.verify(|progress| eprintln!("{} of {} bytes", progress.bytes_done, progress.bytes_total))?;
//! assert!(report.is_ok());
//! # Ok(())
//! # }
//! ```

pub(crate) mod dump;
mod follow;
mod last;
pub(crate) mod log;
mod lone;
mod moving;
mod stats;
mod times;
pub(crate) mod verify;

pub use crate::metrics::histogram::Histogram;
pub use crate::repair::backup::Backup;
pub use crate::repair::copy::CopiedLog;
pub use crate::repair::lost::{Losses, LostRange};
pub use crate::repair::plan::RepairPlan;
pub use crate::repair::repair::{Repaired, repair};
pub use crate::repair::salvage::{Moved, Salvaged, salvage};
pub use dump::{DumpedFrame, DumpedFrames};
pub use follow::Follow;
pub use last::LastRecords;
pub use log::{Log, Progress, SegmentInfo, SegmentState};
pub use stats::{Amount, Compressed, LogStats, Overhead};
pub use verify::{Report, SegmentUse};
