//! An answer, and of which batch it is.

use crate::batch::Batch;
use highwater_wal::Lsn;

/// The end of a batch, as readers of states see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// 0 before the first batch.
    pub(crate) batch: u64,
    pub(crate) time_ms: u64,
    /// Everything below is in it, or in a batch before it.
    pub(crate) to: Lsn,
}

impl End {
    pub(crate) fn of(batch: &Batch) -> Self {
        Self {
            batch: batch.id,
            time_ms: batch.time_ms,
            to: batch.to,
        }
    }
}

/// What a state was at the end of a batch.
///
/// The batch is complete on every worker and its outputs are committed, so a crash takes nothing of
/// it back: a later answer is never of an older batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer<T> {
    /// What was asked for.
    pub value: T,
    /// The batch; `None` before the first one.
    pub batch: Option<u64>,
    /// Its time, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Every record whose LSN is below is in the answer.
    pub lsn: Lsn,
    /// Whether the batches after the newest checkpoint are still replayed: then a later batch was
    /// shown before the restart. Only for those who ask for such answers.
    pub recovering: bool,
}

impl<T> Answer<T> {
    pub(crate) fn new(value: T, end: End, recovering: bool) -> Self {
        Self {
            value,
            batch: (end.batch > 0).then_some(end.batch),
            time_ms: end.time_ms,
            lsn: end.to,
            recovering,
        }
    }

    /// The same about something else.
    #[must_use]
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Answer<U> {
        Answer {
            value: f(self.value),
            batch: self.batch,
            time_ms: self.time_ms,
            lsn: self.lsn,
            recovering: self.recovering,
        }
    }
}
