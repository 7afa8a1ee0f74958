//! What the engine writes into a manifest beside the state.

use crate::batch::tick::Tick;
use crate::engine_log::program::Program;
use crate::plan::program::OperatorInfo;
use highwater_wal::Lsn;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Kind of the blocks that hold a source's producer table.
pub(crate) const PRODUCERS: &str = "producers";

/// What the engine writes into a manifest beside the state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) program: Program,
    pub(crate) batch_interval_ms: u64,
    /// Where windows are aligned: the first tick less an interval. Version 1 has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zero_ms: Option<u64>,
    /// The number of the next record of each source, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) numbers: BTreeMap<String, u64>,
    pub(crate) workers: usize,
    pub(crate) operators: Vec<OperatorInfo>,
    /// Migrations that each state has gone through, by name.
    #[serde(default)]
    pub(crate) migrations: BTreeMap<String, usize>,
    /// How many calls of the program that wrote this drop a state, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) dropped: BTreeMap<String, usize>,
    /// Lengths of the panes of windows, in milliseconds, by the names of their states.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) panes: BTreeMap<String, u64>,
    /// The place of the last batch in its tick. What the first builds wrote does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<Part>,
    /// Batches that were cut, and were not finished when this was taken.
    #[serde(default, skip_serializing_if = "Incomplete::is_empty")]
    pub(crate) incomplete: Incomplete,
    /// Logs that are gone and whose place this one has taken, the oldest first, as 32 hexadecimal
    /// digits: outputs may still bear their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) predecessors: Vec<String>,
    /// The settings of the program that took it, for people: by the methods of the builder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) settings: BTreeMap<String, String>,
    /// What a recovery costs, as far as it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) costs: Option<Costs>,
    /// Whether the program stopped after this batch: nothing goes on from it in its old place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stopped: bool,
}

/// What a recovery costs, for those who look at a checkpoint later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// Loading a checkpoint, in milliseconds.
    pub(crate) load_ms: u64,
    /// Running a batch without records again, in microseconds.
    pub(crate) batch_us: u64,
    /// And for each byte of a batch's log, in picoseconds.
    pub(crate) byte_ps: u64,
}

/// The place of a batch in its tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Its number within the tick, from 0.
    pub(crate) number: u32,
    pub(crate) is_last: bool,
}

impl From<Tick> for Part {
    fn from(tick: Tick) -> Self {
        Self {
            number: tick.part,
            is_last: tick.is_last_part,
        }
    }
}

/// Batches that were cut and not finished.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Incomplete {
    /// How many there are.
    pub(crate) batches: u64,
    /// The first of them, by their cuts.
    pub(crate) cuts: Vec<IncompleteCut>,
}

/// A batch that was cut, and the empty ticks before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IncompleteCut {
    /// The first batch: those before the last one are ticks without data.
    pub(crate) first_batch: u64,
    pub(crate) batch: u64,
    pub(crate) time_ms: u64,
    pub(crate) from: Lsn,
    pub(crate) to: Lsn,
}

impl Incomplete {
    /// So many cuts are named at most: a manifest is a small file.
    const NAMED: usize = 100;

    pub(crate) fn of(cuts: impl Iterator<Item = IncompleteCut>) -> Self {
        let mut all = Self::default();
        for cut in cuts {
            all.batches += (cut.batch + 1).saturating_sub(cut.first_batch);
            if all.cuts.len() < Self::NAMED {
                all.cuts.push(cut);
            }
        }
        all
    }

    fn is_empty(&self) -> bool {
        self.batches == 0
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, cut) in self.cuts.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            if cut.first_batch < cut.batch {
                write!(f, "{} to ", cut.first_batch)?;
            }
            write!(f, "{} (LSN {} to {})", cut.batch, cut.from, cut.to)?;
        }
        let named = self.cuts.iter();
        let named = named.map(|cut| (cut.batch + 1).saturating_sub(cut.first_batch));
        match self.batches.saturating_sub(named.sum()) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

impl Metadata {
    /// Names in the program.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let operators = self.operators.iter();
        operators.filter_map(|info| info.name.clone()).collect()
    }
}
