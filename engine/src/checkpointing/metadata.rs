//! What the engine writes into a manifest beside the state.

use crate::engine_log::program::Program;
use crate::plan::program::OperatorInfo;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
}

impl Metadata {
    /// Names in the program.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let operators = self.operators.iter();
        operators.filter_map(|info| info.name.clone()).collect()
    }
}
