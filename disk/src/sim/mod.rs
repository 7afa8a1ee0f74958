//! A disk in memory that can lose its power, fail any call, run full and rot; the same seed gives
//! the same disaster.
//!
//! What it models, after `docs/guarantees.md`:
//! * A file is an inode with two images. The *volatile* one is the page cache: every call and map
//!   sees it. The *durable* one is the medium: a power cut leaves it. [`DiskFile::sync`] makes
//!   content and length durable, [`AppendMap::sync`] the 4096-byte pages that cover its range, and
//!   only [`Disk::sync_dir`] makes names durable.
//! * A power cut keeps a random subset of the un-synced changes: each 512-byte sector by itself,
//!   and the old or the new length of each file. Of the changes of names it keeps a prefix in their
//!   order, or a subset that is consistent.
//! * A failed sync marks dirty bytes as clean although they are not durable ("fsyncgate"). They can
//!   be read, and a later sync succeeds. After the power cut they are gone, unless they were
//!   written again.
//!
//! What it does not model: symbolic links, permissions, holes (every byte of a file counts as
//! allocated), and time. Relative paths start at the root directory, the only one that exists at
//! first.
//!
//! ```
//! use highwater_disk::{Disk, DiskFile as _, SimDisk};
//! use std::path::Path;
//!
//! # fn main() -> std::io::Result<()> {
//! for cut in 0.. {
//!     let sim = SimDisk::new();
//!     sim.cut_power_before(cut);
//!     let outcome = (|| {
//!         let file = sim.create_new(Path::new("/greeting"))?;
//!         file.write_all_at(b"hello", 0)?;
//!         file.sync()?;
//!         sim.sync_dir(Path::new("/"))
//!     })();
//!     if outcome.is_ok() {
//!         break; // the cut lies behind the end
//!     }
//!     for seed in 0..10 {
//!         let rebooted = sim.restart_after_power_cut(seed);
//!         let left = rebooted.read_file("/greeting").unwrap_or_default();
//!         assert!(left.len() <= 5);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `crash_test/` | crash tests of a user's own program |
//! | `disk` | `SimDisk`: power, process, faults and limits |
//! | `inspect` | looking at the disk from outside, and damaging it |
//! | `calls` | `Disk` on the simulated machine |
//! | `file` | `DiskFile`: an open file |
//! | `append_map` | the append maps of files |
//! | `machine` | the state behind one lock, and the entry of every call |
//! | `inode` | the content of one file: page cache and medium |
//! | `memory` | bytes shared by a file and its maps |
//! | `tree` | the names: page cache and medium |
//! | `fault` | calls that fail on purpose |
//! | `rng` | pseudo-random numbers from a seed |
//! | `trace` | every call in order, to compare two runs |
//!
//! [`Disk`]: crate::Disk
//! [`Disk::sync_dir`]: crate::Disk::sync_dir
//! [`DiskFile::sync`]: crate::DiskFile::sync
//! [`AppendMap::sync`]: crate::AppendMap::sync

mod append_map;
mod calls;
mod crash_test;
mod disk;
mod fault;
mod file;
mod inode;
mod inspect;
mod machine;
mod memory;
mod rng;
mod trace;
mod tree;

pub use crate::call::Call;
pub use crash_test::{CrashFailure, CrashReport, CrashTest, crash_test};
pub use disk::SimDisk;
pub use fault::{AfterFailedSync, Fault, FaultKind, Repeat};
pub use rng::Rng;
