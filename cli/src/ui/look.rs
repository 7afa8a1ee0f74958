//! One look at a directory.

use crate::checkpoint::store::Found;
use crate::log_after::LogAfter;
use highwater::wal::Lsn;
use highwater::wal::inspect::Log;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything that is shown of a directory.
pub(super) struct Look {
    pub(super) dir: PathBuf,
    pub(super) at_ms: u64,
    pub(super) found: Arc<Found>,
    pub(super) log: Log,
    /// What the log has after the newest checkpoint; why that cannot be read, if it cannot.
    pub(super) after: std::result::Result<LogAfter, String>,
    pub(super) from: Lsn,
    pub(super) free_bytes: Option<u64>,
    /// Open dead letters by operator.
    pub(super) letters: BTreeMap<String, u64>,
}
