//! The durable half of the cluster, as data: it survives every crash. A part of it is only
//! remembered to judge by.

use crate::event::Manifest;
use std::collections::BTreeMap;

/// Everything that lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    /// The logs, by process.
    pub logs: Vec<Log>,
    /// The newest batch that was ever committed.
    pub committed: u64,
    /// The manifests that are in the store, oldest first.
    pub manifests: Vec<Manifest>,
    /// State files, by generation, batch and process.
    pub files: BTreeMap<(u64, u64, usize), Saving>,
    /// Outputs, by process and batch.
    pub parts: BTreeMap<(usize, u64), Part>,
    /// Remembered: the range with which a batch was first run, by batch and process.
    pub inputs: BTreeMap<(u64, usize), (u64, u64)>,
    /// Remembered: up to which batch a process's state has come, by process and generation.
    pub counted: BTreeMap<(usize, u64), u64>,
}

/// One log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Log {
    /// Its identity; 0 while there is none.
    pub id: u64,
    /// How many logs this process has lost.
    pub losses: u64,
    /// Where its durable part ends.
    pub end: u64,
    /// What senders were told is safe.
    pub acknowledged: u64,
    /// The batch after which it takes part.
    pub base: u64,
    /// Positions of the cuts of `base` and all later batches; empty until it has taken part.
    pub cuts: Vec<u64>,
    /// The newest cut is a last one: nothing more is acknowledged until a generation begins.
    pub last: bool,
    /// It knows that a manifest names it.
    pub named: bool,
    /// The newest batch that is committed; in the log of process 0.
    pub committed: u64,
    /// What lies before the cut of this batch is gone.
    pub truncated: u64,
    /// Remembered: up to where a log that was here before, and is lost, was acknowledged.
    pub owes: u64,
}

/// A process's output of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// What is in it.
    pub digest: u64,
    /// It is visible.
    pub published: bool,
}

/// What a state file holds: how far each log is counted in it; empty if not known.
pub type Saving = Vec<u64>;

impl Log {
    /// The newest batch whose cut is durable.
    pub fn last_cut(&self) -> u64 {
        (self.base + self.cuts.len() as u64).saturating_sub(1)
    }

    /// Position of the cut of `batch`.
    pub fn cut(&self, batch: u64) -> Option<u64> {
        let at = usize::try_from(batch.checked_sub(self.base)?).ok()?;
        self.cuts.get(at).copied()
    }
}

impl World {
    /// The manifest that counts.
    pub fn newest(&self) -> Option<&Manifest> {
        self.manifests.last()
    }

    /// The manifests that count: the newest one says from which number on.
    pub fn retained(&self) -> impl DoubleEndedIterator<Item = &Manifest> + Clone {
        let oldest = self.newest().map_or(0, |m| m.oldest);
        self.manifests.iter().filter(move |m| m.number >= oldest)
    }

    /// The log of a process; an empty one if it has never started.
    pub fn log(&mut self, process: usize) -> &mut Log {
        if self.logs.len() <= process {
            self.logs.resize(process + 1, Log::default());
        }
        &mut self.logs[process]
    }
}
