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

    /// How many of them could change what a power cut leaves
    /// ([`Call::is_mutation`](crate::Call::is_mutation)).
    #[must_use]
    pub fn mutations(&self) -> u64 {
        self.machine.state().mutations
    }

    /// Records every call from now on, for [`Self::trace`]. The disks that a restart or a kill
    /// returns go on recording.
    pub fn record_trace(&self) {
        self.machine.state().trace = Some(Trace::default());
    }

    /// The calls since [`Self::record_trace`], one line each: the call, its paths, and its error if
    /// it failed. Length and hash of the content of the file follow. Empty without recording.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        let state = self.machine.state();
        let trace = state.trace.as_ref();
        trace.map_or(Vec::new(), |trace| trace.lines().to_vec())
    }

    // ---- power

    /// Switches the power off right before mutation number `n`, counted from 0 since this disk was
    /// created. That call and all later ones fail, and make nothing durable. (A directory with
    /// parents is created in steps, any of which may have happened.)
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
    #[must_use]
    pub fn power_cut_at(&self) -> Option<String> {
        self.machine.state().cut_at.clone()
    }

    /// Switches the power off. Does nothing if it is off.
    pub fn cut_power_now(&self) {
        self.machine.state().cut_power();
    }

    /// Whether calls can succeed: the power is on and the process was not killed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.machine.state().crash().is_none()
    }

    /// Whether `error` says that the power is off.
    #[must_use]
    pub fn is_power_cut(error: &io::Error) -> bool {
        Crash::of(error) == Some(Crash::PowerCut)
    }

    /// Whether `error` says that the process which owned the handle was killed.
    #[must_use]
    pub fn is_killed(error: &io::Error) -> bool {
        Crash::of(error) == Some(Crash::ProcessKill)
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
    /// # Panics
    /// If the fault is [`FaultKind::Short`](super::FaultKind::Short) and the call neither reads nor
    /// writes.
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
