//! The way of replayed letters to their operators: each has a source of its own in the engine's
//! log, which only this operator reads.

use crate::dead_letters::letter;
use crate::ingest::decoder::RecordCheck;
use crate::ingest::source_context::SourceContext;
use highwater_wal::StreamId;
use std::fmt;

/// Kind of these sources.
pub(crate) const DEAD_LETTERS: &str = "dead_letters";

/// The record of a letter, decoded.
pub(crate) fn decode<T>(
    letter: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, String>,
) -> Result<T, String> {
    decode(letter::input(letter)?)
}

/// The way to one operator.
pub(crate) struct Outlet {
    pub(crate) source: SourceContext,
    pub(crate) stream: StreamId,
    pub(crate) check: RecordCheck,
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
