//! The simulated disk: its power, its process, its faults and its limits.

use super::fault::Fault;
use super::machine::{Machine, State};
use super::trace::Trace;
use crate::error::Crash;
use crate::file_system::FileSystem;
use std::error::Error;
use std::io;
use std::sync::Arc;

/// A simulated disk, and with it the machine and the process that use it. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    pub(super) machine: Arc<Machine>,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk: a root directory, no limit, no faults, power on.
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// let file = sim.create_new(Path::new("/a"))?;
    /// file.write_all_at(b"hello", 0)?;
    /// assert_eq!(sim.read_file("/a"), Some(b"hello".to_vec()));
    /// # Ok::<_, std::io::Error>(())
    /// ```
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
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// let file = sim.create_new(Path::new("/a"))?;
    /// assert_eq!(file.len()?, 0);
    /// assert_eq!((sim.operations(), sim.mutations()), (2, 1));
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.machine.state().operations
    }

    /// How many of them could change what a power cut leaves
    /// ([`Call::is_mutation`](crate::Call::is_mutation)).
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// let file = sim.create_new(Path::new("/a"))?;
    /// file.write_all_at(b"hello", 0)?;
    /// file.sync()?;
    /// for cut in 0..sim.mutations() {
    ///     let again = SimDisk::new();
    ///     again.cut_power_before(cut); // and make the same calls
    /// }
    /// # assert_eq!(sim.mutations(), 3);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn mutations(&self) -> u64 {
        self.machine.state().mutations
    }

    /// Records every call from now on, for [`Self::trace`]. The disks that a restart or a kill
    /// returns go on recording.
    ///
    /// ```
    /// use highwater_disk::{Disk, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.record_trace();
    /// sim.create_new(Path::new("/a"))?;
    /// println!("{}", sim.trace().join("\n"));
    /// # assert_eq!(sim.trace().len(), 1);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn record_trace(&self) {
        self.machine.state().trace = Some(Trace::default());
    }

    /// The calls since [`Self::record_trace`], one line each: the call, its paths, and its error if
    /// it failed. Length and hash of the content of the file follow. Empty without recording.
    ///
    /// ```
    /// use highwater_disk::{Disk, SimDisk};
    /// use std::path::Path;
    /// let traces = [(); 2].map(|()| {
    ///     let sim = SimDisk::new();
    ///     sim.record_trace();
    ///     sim.create_new(Path::new("/a")).expect("the disk is empty");
    ///     sim.trace()
    /// });
    /// assert_eq!(traces[0], traces[1], "two runs make the same calls");
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        let state = self.machine.state();
        let trace = state.trace.as_ref();
        trace.map_or(Vec::new(), |trace| trace.lines().to_vec())
    }

    /// Notes the first `most` mutations by call and path. Unlike a trace it reads no content.
    pub(super) fn note_mutations(&self, most: usize) {
        self.machine.state().noted = Some((most, Vec::new()));
    }

    /// What [`Self::note_mutations`] asked for.
    pub(super) fn noted_mutations(&self) -> Vec<String> {
        let state = self.machine.state();
        let noted = state.noted.as_ref();
        noted.map_or(Vec::new(), |(_, noted)| noted.clone())
    }

    // ---- power

    /// Switches the power off right before mutation number `n`, counted from 0 since this disk was
    /// created. That call and all later ones fail, and make nothing durable. (A directory with
    /// parents is created in steps, any of which may have happened.)
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.cut_power_before(1);
    /// let file = sim.create_new(Path::new("/a"))?;
    /// assert!(file.write_all_at(b"hello", 0).is_err());
    /// assert!(!sim.is_alive());
    /// # Ok::<_, std::io::Error>(())
    /// ```
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

    /// The call before which the planned cut came, with its path. `None` if it has not come.
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.cut_power_before(1);
    /// let file = sim.create_new(Path::new("/a"))?;
    /// assert_eq!(sim.power_cut_at(), None);
    /// assert!(file.write_all_at(b"hello", 0).is_err());
    /// println!("the power went off before: {}", sim.power_cut_at().expect("it did"));
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn power_cut_at(&self) -> Option<String> {
        self.machine.state().cut_at.clone()
    }

    /// Switches the power off. Does nothing if it is off.
    ///
    /// ```
    /// use highwater_disk::{Disk, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.cut_power_now();
    /// assert!(sim.list(Path::new("/")).is_err());
    /// ```
    pub fn cut_power_now(&self) {
        self.machine.state().cut_power();
    }

    /// Whether calls can succeed: the power is on and the process was not killed.
    ///
    /// ```
    /// use highwater_disk::SimDisk;
    /// let sim = SimDisk::new();
    /// assert!(sim.is_alive());
    /// sim.cut_power_now();
    /// assert!(!sim.is_alive());
    /// assert!(sim.restart_after_power_cut(1).is_alive());
    /// ```
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.machine.state().crash().is_none()
    }

    /// Whether `error` says that the power is off.
    ///
    /// ```
    /// use highwater_disk::{Disk, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.cut_power_now();
    /// assert!(SimDisk::is_power_cut(&sim.list(Path::new("/")).expect_err("the power is off")));
    /// ```
    #[must_use]
    pub fn is_power_cut(error: &io::Error) -> bool {
        Crash::of(error) == Some(Crash::PowerCut)
    }

    /// Whether `error` says that the process which owned the handle was killed.
    ///
    /// ```
    /// use highwater_disk::{Disk, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// let next = sim.kill_process();
    /// assert!(SimDisk::is_killed(&sim.list(Path::new("/")).expect_err("the process is dead")));
    /// assert!(next.list(Path::new("/")).is_ok());
    /// ```
    #[must_use]
    pub fn is_killed(error: &io::Error) -> bool {
        Crash::of(error) == Some(Crash::ProcessKill)
    }

    /// Whether `error`, or one that caused it, says that the power is off.
    ///
    /// ```
    /// use highwater_disk::{Disk, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.cut_power_now();
    /// let error = sim.list(Path::new("/")).expect_err("the power is off");
    /// let error = std::io::Error::other(error); // as a library wraps it
    /// assert!(SimDisk::caused_by_power_cut(&error));
    /// ```
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
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// let file = sim.create_new(Path::new("/a"))?;
    /// file.write_all_at(b"hello", 0)?;
    /// file.sync()?; // the content is durable, the name is not
    /// sim.cut_power_now();
    /// let outcomes = (0..100).map(|seed| sim.restart_after_power_cut(seed).read_file("/a"));
    /// let (kept, lost): (Vec<_>, Vec<_>) = outcomes.partition(|content| content.is_some());
    /// assert!(!kept.is_empty() && !lost.is_empty());
    /// assert!(kept.iter().all(|content| content.as_deref() == Some(b"hello")));
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the power is on.
    #[must_use]
    pub fn restart_after_power_cut(&self, seed: u64) -> Self {
        let state = self.machine.state();
        assert_eq!(
            state.crash(),
            Some(Crash::PowerCut),
            "only a power cut is followed by a restart"
        );
        Self::of(state.survivor(seed))
    }

    /// Kills the process: this handle and all that came from it are dead, locks are free; the page
    /// cache stays, and with it what was never synced. Returns the disk for the next process.
    ///
    /// Counters, faults and the planned cut start afresh; capacity and file system stay.
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// let file = sim.create_new(Path::new("/a"))?;
    /// file.write_all_at(b"hello", 0)?;
    /// let next = sim.kill_process();
    /// assert!(file.len().is_err(), "the handle is dead");
    /// assert_eq!(next.read_file("/a"), Some(b"hello".to_vec()), "the page cache stays");
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the power is off or the process is dead already.
    #[must_use]
    pub fn kill_process(&self) -> Self {
        let mut state = self.machine.state();
        assert_eq!(state.crash(), None, "only a living process can be killed");
        Self::of(state.kill())
    }

    /// A copy of everything on the disk, durable or not, for another process on another machine. It
    /// has none of the handles, locks, faults and counters of this one.
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// let file = sim.create_new(Path::new("/a"))?;
    /// let copy = sim.snapshot();
    /// file.write_all_at(b"hello", 0)?;
    /// assert_eq!(copy.read_file("/a"), Some(vec![]));
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the power is off or the process was killed.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let state = self.machine.state();
        assert_eq!(state.crash(), None, "only a living disk can be copied");
        Self::of(state.fork())
    }

    // ---- faults

    /// Makes a call fail; faults add up.
    ///
    /// ```
    /// use highwater_disk::sim::{Call, Fault, FaultKind};
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.fail(Fault::new(Call::Sync, FaultKind::Eio));
    /// let file = sim.create_new(Path::new("/a"))?;
    /// assert!(file.sync().is_err());
    /// assert!(file.sync().is_ok(), "it failed once");
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the fault is [`FaultKind::Short`](super::FaultKind::Short) and the call neither reads nor
    /// writes.
    pub fn fail(&self, fault: Fault) {
        self.machine.state().faults.add(fault);
    }

    /// Takes back all faults that were injected. What they did to the disk stays.
    ///
    /// ```
    /// use highwater_disk::sim::{Call, Fault, FaultKind};
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.fail(Fault::new(Call::Sync, FaultKind::Eio).forever());
    /// let file = sim.create_new(Path::new("/a"))?;
    /// assert!(file.sync().is_err());
    /// sim.clear_faults();
    /// assert!(file.sync().is_ok());
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn clear_faults(&self) {
        self.machine.state().faults.clear();
    }

    /// How many calls were made to fail (or to fall short) so far: a loop over the n-th call ends
    /// when this stays 0.
    ///
    /// ```
    /// use highwater_disk::sim::{Call, Fault, FaultKind};
    /// use highwater_disk::{Disk, SimDisk};
    /// use std::path::Path;
    /// for n in 0.. {
    ///     let sim = SimDisk::new();
    ///     sim.fail(Fault::new(Call::Create, FaultKind::Emfile).nth(n));
    ///     let _ = sim.create_new(Path::new("/a")); // what is tested
    ///     if sim.faults_fired() == 0 {
    ///         break; // there is no n-th call
    ///     }
    /// #   assert!(n < 2);
    /// }
    /// ```
    #[must_use]
    pub fn faults_fired(&self) -> u64 {
        self.machine.state().faults.fired
    }

    /// Limits the sum of the lengths of all files (that have a name or an open handle) to `bytes`;
    /// `None` lifts it. A write that fits only in part is short, one that fits not at all fails
    /// with [`io::ErrorKind::StorageFull`]. Names cost nothing.
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// let file = sim.create_new(Path::new("/a"))?;
    /// sim.set_capacity(Some(3));
    /// assert_eq!(file.write_at(b"hello", 0)?, 3, "a short write");
    /// let full = file.write_at(b"lo", 3).expect_err("nothing fits");
    /// assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.machine.state().capacity = bytes;
    }

    /// The sum of the lengths of all files that have a name or an open handle.
    ///
    /// ```
    /// use highwater_disk::{Disk, DiskFile as _, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// let file = sim.create_new(Path::new("/a"))?;
    /// file.write_all_at(b"hello", 0)?;
    /// assert_eq!(sim.used_bytes(), 5);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.machine.state().used_bytes()
    }

    /// Sets what [`Disk::file_system`](crate::Disk::file_system) answers (at first ext4). Nothing
    /// else changes by it.
    ///
    /// ```
    /// use highwater_disk::{Disk, FileSystem, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.set_file_system(FileSystem::Nfs);
    /// assert_eq!(sim.file_system(Path::new("/"))?, FileSystem::Nfs);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn set_file_system(&self, kind: FileSystem) {
        self.machine.state().file_system = kind;
    }

    /// Sets the clock that stamps [`Entry::modified_ms`](crate::Entry::modified_ms); it stands
    /// still otherwise.
    ///
    /// ```
    /// use highwater_disk::{Disk, SimDisk};
    /// use std::path::Path;
    /// let sim = SimDisk::new();
    /// sim.set_time_ms(1_700_000_000_000);
    /// sim.create_new(Path::new("/a"))?;
    /// assert_eq!(sim.list(Path::new("/"))?[0].modified_ms, 1_700_000_000_000);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn set_time_ms(&self, time_ms: u64) {
        self.machine.state().time_ms = time_ms;
    }
}
