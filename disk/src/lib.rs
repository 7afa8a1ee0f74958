//! The one seam between Highwater and the operating system: files, maps, syncs, locks and clocks.
//!
//! Every call that can fail or be interrupted goes through [`Disk`]. So the same production code
//! runs on [`OsDisk`] and on the simulator [`SimDisk`], which can fail any call and cut the power
//! after any operation. This is the only crate of the workspace that contains `unsafe` code (the
//! memory maps).
//!
//! Vocabulary: *sync* makes bytes durable (they survive a power cut). A *name* (directory entry) is
//! durable only after [`Disk::sync_dir`] of its directory. Nothing here is durable by itself.
//!
//! | file | holds |
//! |---|---|
//! | `disk` | the traits: disks, open files, directory entries, locks |
//! | `os/` | the operating system's disk |
//! | `sim/` | a disk in memory that fails and crashes on demand |
//! | `map/` | maps of files, for appending and for reading |
//! | `probe/` | for tools: the device under a directory, and what a commit costs there |
//! | `clock` | time, and waiting for a notification or a deadline |
//! | `event_count` | waking many threads with one system call |
//! | `call`, `error` | the kinds of calls, and how they fail |
//! | `file_system` | the kinds of file systems, and what they promise |
//! | `interrupted` | calls that a signal interrupts |
//! | `units` | sectors and pages |

mod call;
mod clock;
mod disk;
mod error;
mod event_count;
mod file_system;
mod interrupted;
mod map;
mod os;
pub mod probe;
pub mod sim;
mod units;

pub use call::Call;
pub use clock::{Clock, ManualClock, Notify, OsClock, WaitResult};
pub use disk::{Access, DirLock, Disk, DiskFile, Entry, EntryKind};
pub use error::{DiskError, copy_error, raw_os_error};
pub use event_count::EventCount;
pub use file_system::{FileSystem, Suitability};
pub use map::append::{AppendMap, Reservation};
pub use map::backing::MapBacking;
pub use map::cursor::{AbandonedReservation, ReserveError, Reserver};
pub use map::read::{ReadBacking, ReadMap};
#[doc(hidden)]
pub use map::sync;
pub use os::disk::OsDisk;
pub use os::priority::{Priority, Raised};
pub use sim::{CrashTest, SimDisk, crash_test};
pub use units::{PAGE_SIZE, SECTOR_SIZE};

/// The example of the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
