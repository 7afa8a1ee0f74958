//! The seam to the operating system, as far as those who embed a log need it: disks and clocks to
//! hand to [`Options`](crate::Options), and the simulator to test with.
//!
//! What only the log itself asks of a disk (reservations, the backings of maps) and what tools ask
//! (probes) is in the crate [`highwater_disk`].
//!
//! ```
//! use highwater_wal::disk::SimDisk;
//! use highwater_wal::{Background, Options, Wal};
//! use std::sync::Arc;
//!
//! let disk = SimDisk::new();
//! let options = Options::new().disk(Arc::new(disk.clone())).background(Background::Inline);
//! let log = Wal::open_with("/log", options.clone())?;
//! log.append(b"stays")?;
//! log.sync()?;
//! log.append(b"was never synced")?;
//! disk.cut_power_now();
//! drop(log);
//! let after = disk.restart_after_power_cut(7);
//! let log = Wal::open_with("/log", options.disk(Arc::new(after)))?;
//! let first = log.read_from(highwater_wal::Lsn::ZERO)?.next().expect("it was synced")?;
//! assert_eq!(&*first.payload, b"stays");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use highwater_disk::sim;
pub use highwater_disk::{
    Access, AppendMap, Clock, CrashTest, DirLock, Disk, DiskError, DiskFile, Entry, EntryKind,
    FileSystem, ManualClock, Notify, OsClock, OsDisk, ReadMap, SimDisk, Suitability, WaitResult,
    copy_error, crash_test, raw_os_error,
};
