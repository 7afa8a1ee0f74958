//! The program that runs the commands, and what it knows of who writes a log.

use crate::outcome::Result;
use crate::output;
use highwater_wal::inspect::Log;
use serde_json::Value;
use std::fmt::Debug;
use std::path::Path;

/// The program that runs the commands.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// How its messages begin.
    pub name: &'static str,
    /// What to type before the name of a command of the log: `highwater-log`, `highwater log`.
    pub command: &'static str,
    /// What it knows of the records of an engine. Without that they are shown as bytes.
    pub engine: Option<&'static dyn EngineRecords>,
}

impl Program {
    /// A message on standard error.
    pub fn tell(&self, text: impl AsRef<str>) {
        output::tell(self.name, text);
    }
}

/// What a program knows of the records that an engine writes into its log.
pub trait EngineRecords: Debug + Sync {
    /// A control record of stream 0 as JSON; `None` if it is none that is known.
    fn control(&self, payload: &[u8]) -> Option<Value>;

    /// The first record of a source's batch as JSON; `None` if it is none that is known.
    fn envelope(&self, record: &[u8]) -> Option<Value>;

    /// Why the engine of the log in `dir` would refuse to start although the log is sound.
    ///
    /// # Errors
    /// If what lies beside the log cannot be read.
    fn refusal(&self, log: &Log, dir: &Path) -> Result<Option<String>>;
}
