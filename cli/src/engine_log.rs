//! What the commands of the log are told about the log of an engine.

use crate::checkpoint::store;
use crate::engine_records;
use highwater::wal::inspect::Log;
use highwater_log::outcome::Result;
use highwater_log::program::EngineRecords;
use serde_json::Value;
use std::path::Path;

/// The log of an engine.
#[derive(Debug)]
pub(crate) struct EngineLog;

impl EngineRecords for EngineLog {
    fn control(&self, payload: &[u8]) -> Option<Value> {
        engine_records::control(payload)
    }

    fn envelope(&self, record: &[u8]) -> Option<Value> {
        engine_records::envelope(record)
    }

    fn refusal(&self, log: &Log, dir: &Path) -> Result<Option<String>> {
        store::uncovered(log, &dir.with_file_name("checkpoints"))
    }
}
