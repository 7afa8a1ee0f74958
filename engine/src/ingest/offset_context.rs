//! What a source that keeps its own data works with.

use crate::error::BoxError;
use crate::ingest::source_context::{SourceContext, SourceStats};
use highwater_wal::disk::{Clock, Disk};
use std::fmt::Display;
use std::sync::Arc;

/// What a [`Source`](crate::Source) works with. Cheap to clone; usable from any thread.
#[derive(Debug, Clone)]
pub struct OffsetContext {
    source: SourceContext,
}

impl OffsetContext {
    /// How many items of a source are remembered at least: those that advanced last. A batch has
    /// nothing of a new item beyond that.
    pub const ITEMS: usize = SourceContext::PRODUCER_WINDOW;

    pub(crate) fn new(source: SourceContext) -> Self {
        Self { source }
    }

    /// Name of the source.
    #[must_use]
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// The offset after the last one of `item` that a batch has; `None` if no batch has any.
    #[must_use]
    pub fn position(&self, item: &str) -> Option<u64> {
        self.source.last_sequence(item)
    }

    /// Every item that is known, with its position.
    #[must_use]
    pub fn positions(&self) -> Vec<(String, u64)> {
        let items = self.source.producers().into_iter();
        items.map(|(item, position, _)| (item, position)).collect()
    }

    /// Whether the context is stopping: a thread of the source should end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.source.is_stopping()
    }

    /// Calls `interrupt` when the context stops; at once if it does already.
    pub fn on_stop(&self, interrupt: impl Fn() + Send + 'static) {
        self.source.on_stop(interrupt);
    }

    /// Logs and counts an error, not more often than a program's log can take.
    pub fn report_error(&self, error: &BoxError) {
        self.source.report_error(error);
    }

    /// Logs and counts an item (a file) that was changed after it was read, and is read again.
    pub fn read_again(&self, what: &str) {
        self.source.read_again(what);
    }

    /// Logs and counts an item (a file) that is gone before batches have all of it.
    pub fn vanished(&self, what: &str) {
        self.source.vanished(what);
    }

    /// Logs and counts a record that is left out.
    pub fn skip(&self, why: &dyn Display) {
        self.source.skip(&why.to_string());
    }

    /// The disk that the context runs on.
    #[must_use]
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.source.disk()
    }

    /// The clock that the context runs by.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.source.clock()
    }

    /// What the source has done since the context started. `stored` counts records that batches
    /// have: offsets, unless the source says otherwise
    /// ([`OffsetRange::records`](crate::OffsetRange)).
    #[must_use]
    pub fn stats(&self) -> SourceStats {
        self.source.stats()
    }
}
