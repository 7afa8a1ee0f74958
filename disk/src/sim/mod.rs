//! A disk in memory that can lose its power, fail any call, run full and rot; the same seed gives
//! the same disaster.
//!
//! What it models, after `docs/guarantees.md`:
//! * A file is an inode with two images: the *volatile* one (the page cache: what every call and
//!   map sees) and the *durable* one (the medium: what a power cut leaves). [`DiskFile::sync`]
//!   makes content and length durable, [`AppendMap::sync`] the 4096-byte pages that cover its
//!   range, and only [`Disk::sync_dir`] makes names durable.
//! * A power cut keeps a random subset of what was not synced: each 512-byte sector by itself, the
//!   old or the new length of each file, and of the names' changes either a prefix in their order
//!   or a subset that makes sense.
//! * A failed sync marks what was dirty as clean although it is not durable ("fsyncgate"): it is
//!   read back, a later sync succeeds, and it is gone after the power cut, unless it was written
//!   again.
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
//! [`Disk`]: crate::Disk
//! [`Disk::sync_dir`]: crate::Disk::sync_dir
//! [`DiskFile::sync`]: crate::DiskFile::sync
//! [`AppendMap::sync`]: crate::AppendMap::sync

mod calls;
mod fault;
mod file;
mod inspect;
mod machine;
mod map;
mod memory;
mod rng;
mod tree;

pub use crate::error::Call;
pub use fault::{AfterFailedSync, Fault, FaultKind, Repeat};
pub use rng::Rng;

use crate::FileSystem;
use crate::error::DiskError;
use machine::{Gone, Machine, State};
use std::error::Error;
use std::io;
use std::sync::Arc;

/// A simulated disk, and with it the machine and the process that use it. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    machine: Arc<Machine>,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk: a root directory, no limit, no faults, power on.
    #[must_use]
    pub fn new() -> Self {
        Self::of(State::empty())
    }

    fn of(state: State) -> Self {
        Self {
            machine: Machine::new(state),
        }
    }

    /// How many calls were made so far, including failed ones. Stores into maps are no calls: the
    /// processor does them.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.machine.state().operations
    }

    /// How many of them could change what a power cut leaves ([`Call::is_mutation`]).
    #[must_use]
    pub fn mutations(&self) -> u64 {
        self.machine.state().mutations
    }

    // ---- power

    /// Switches the power off right before mutation number `n`, counted from 0 since this disk was
    /// created: that call and all later ones fail, and whatever it would have made durable is not.
    /// (A directory with parents is created in steps, any of which may have happened.)
    ///
    /// # Panics
    /// If mutation `n` has already happened.
    pub fn cut_power_before(&self, n: u64) {
        let mut state = self.machine.state();
        assert!(
            n >= state.mutations,
            "mutation {n} has happened: there were {}",
            state.mutations
        );
        state.cut_before = Some(n);
    }

    /// Switches the power off. Does nothing if it is off.
    pub fn cut_power_now(&self) {
        self.machine.state().cut_power();
    }

    /// Whether calls can succeed: the power is on and the process was not killed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.machine.state().gone().is_none()
    }

    /// Whether `error` says that the power is off.
    #[must_use]
    pub fn is_power_cut(error: &io::Error) -> bool {
        gone_of(error) == Some(Gone::PowerCut)
    }

    /// Whether `error` says that the process which owned the handle was killed.
    #[must_use]
    pub fn is_killed(error: &io::Error) -> bool {
        gone_of(error) == Some(Gone::ProcessKilled)
    }

    /// Whether `error`, or one that caused it, says that the power is off.
    #[must_use]
    pub fn caused_by_power_cut(error: &(dyn Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(Self::is_power_cut)
            {
                return true;
            }
            next = error.source();
        }
        false
    }

    /// The machine booted again on what the power cut left, as `seed` decides. It may be called
    /// again with other seeds: each shows another outcome of the same cut.
    ///
    /// Counters, faults and the planned cut start afresh; capacity and file system stay.
    ///
    /// # Panics
    /// If the power is on.
    #[must_use]
    pub fn restart_after_power_cut(&self, seed: u64) -> Self {
        let state = self.machine.state();
        assert_eq!(
            state.gone(),
            Some(Gone::PowerCut),
            "only a power cut is followed by a restart"
        );
        Self::of(state.survivor(seed))
    }

    /// Kills the process: this handle and all that came from it are dead, locks are free; the page
    /// cache stays, and with it what was never synced. Returns the disk for the next process.
    ///
    /// Counters, faults and the planned cut start afresh; capacity and file system stay.
    ///
    /// # Panics
    /// If the power is off or the process is dead already.
    #[must_use]
    pub fn kill_process(&self) -> Self {
        let mut state = self.machine.state();
        assert_eq!(state.gone(), None, "only a living process can be killed");
        Self::of(state.kill())
    }

    /// A copy of everything on the disk, durable or not, for another process on another machine:
    /// without the handles, locks, faults and counters of this one.
    ///
    /// # Panics
    /// If the power is off or the process was killed.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let state = self.machine.state();
        assert_eq!(state.gone(), None, "only a living disk can be copied");
        Self::of(state.fork())
    }

    // ---- faults

    /// Makes a call fail; faults add up.
    ///
    /// # Panics
    /// If the fault is [`FaultKind::Short`] and the call neither reads nor writes.
    pub fn fail(&self, fault: Fault) {
        self.machine.state().faults.add(fault);
    }

    /// Takes back all faults that were injected. What they did to the disk stays.
    pub fn clear_faults(&self) {
        self.machine.state().faults.clear();
    }

    /// How many calls were made to fail (or to fall short) so far: a loop over the n-th call ends
    /// when this stays 0.
    #[must_use]
    pub fn faults_fired(&self) -> u64 {
        self.machine.state().faults.fired
    }

    /// Limits the sum of the lengths of all files (that have a name or an open handle) to `bytes`;
    /// `None` lifts it. A write that fits only in part is short, one that fits not at all fails
    /// with [`io::ErrorKind::StorageFull`]. Names cost nothing.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.machine.state().capacity = bytes;
    }

    /// The sum of the lengths of all files that have a name or an open handle.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.machine.state().used_bytes()
    }

    /// Sets what [`Disk::file_system`](crate::Disk::file_system) answers (at first ext4). Nothing
    /// else changes by it.
    pub fn set_file_system(&self, kind: FileSystem) {
        self.machine.state().file_system = kind;
    }

    /// Sets the clock that stamps [`Entry::modified_ms`](crate::Entry::modified_ms); it stands
    /// still otherwise.
    pub fn set_time_ms(&self, time_ms: u64) {
        self.machine.state().time_ms = time_ms;
    }
}

/// A copy of `error`, if it says that the machine or the process is gone.
pub(crate) fn copy_of_the_end(error: &io::Error) -> Option<io::Error> {
    let gone = gone_of(error)?;
    Some(io::Error::new(error.kind(), gone))
}

fn gone_of(error: &io::Error) -> Option<Gone> {
    if let Some(inner) = DiskError::of(error) {
        return gone_of(inner.cause());
    }
    let inner = error.get_ref()?;
    match inner.downcast_ref::<io::Error>() {
        Some(nested) => gone_of(nested),
        None => inner.downcast_ref::<Gone>().copied(),
    }
}
