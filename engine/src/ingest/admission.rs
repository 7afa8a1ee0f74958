//! Admission: how much data may wait for processing, for all sources together.

use crate::error::{Error, Result};
use crate::observe::throttle::Throttle;
use crate::thread_role::{self, Role};
use highwater_wal::disk::{Clock, Disk, Notify};
use highwater_wal::{Lsn, Wal};
use parking_lot::{Condvar, Mutex};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A source that has waited this long for room is spoken of.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// What all sources of a context share.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) wal: Arc<Wal>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Notified when a batch is full before its interval ends.
    pub(crate) full: Arc<Notify>,
    /// Log bytes that may wait for processing before appends wait.
    max_unprocessed: u64,
    /// Log bytes after which a batch is cut early.
    max_batch: u64,
    /// Where the newest cut is.
    cut: AtomicU64,
    gate: Mutex<Gate>,
    opened: Condvar,
    /// Warnings about what is scarce for the moment.
    warnings: Throttle,
}

#[derive(Debug)]
struct Gate {
    processed: Lsn,
    flow: Flow,
}

/// Whether batches make room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Not yet: the context has not been started.
    NotStarted,
    /// Only when somebody runs one by hand.
    ByHand,
    /// Batches run.
    Running,
    /// Nothing is let in any more.
    Closed,
}

impl Intake {
    pub(crate) fn new(
        wal: Arc<Wal>,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        max_unprocessed: u64,
        max_batch: u64,
        (processed, cut): (Lsn, Lsn),
    ) -> Self {
        Self {
            wal,
            disk,
            clock,
            full: Arc::default(),
            max_unprocessed,
            max_batch,
            cut: AtomicU64::new(cut.get()),
            gate: Mutex::new(Gate {
                processed,
                flow: Flow::NotStarted,
            }),
            opened: Condvar::new(),
            warnings: Throttle::default(),
        }
    }

    /// Warns about something that is tried again and again, but not each time.
    pub(crate) fn warn(&self, message: &str, error: &dyn Display) {
        if let Some(held_back) = self.warnings.pass(self.clock.now()) {
            tracing::warn!(%error, held_back, "{message}");
        }
    }

    /// Everything below `lsn` was processed: appends that wait for room go on.
    pub(crate) fn processed(&self, lsn: Lsn) {
        let mut gate = self.gate.lock();
        gate.processed = gate.processed.max(lsn);
        self.opened.notify_all();
    }

    /// A cut was made at `lsn`.
    pub(crate) fn cut_at(&self, lsn: Lsn) {
        self.cut.fetch_max(lsn.get(), Ordering::Relaxed);
    }

    /// Log bytes behind the newest cut.
    pub(crate) fn uncut_bytes(&self) -> u64 {
        self.wal
            .end_lsn()
            .get()
            .saturating_sub(self.cut.load(Ordering::Relaxed))
    }

    /// Whether the batch being filled has reached its bound.
    pub(crate) fn batch_is_full(&self) -> bool {
        self.uncut_bytes() >= self.max_batch
    }

    /// Lets nothing in any more; who waits for room gets [`Error::Stopped`].
    pub(crate) fn close(&self) {
        self.gate.lock().flow = Flow::Closed;
        self.opened.notify_all();
    }

    /// The context has been started.
    pub(crate) fn start(&self, flow: Flow) {
        let mut gate = self.gate.lock();
        if gate.flow == Flow::NotStarted {
            gate.flow = flow;
        }
    }

    /// Whether nothing is let in any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.gate.lock().flow == Flow::Closed
    }

    /// Waits until there is room for more unprocessed data; an error where no batch would ever make
    /// it.
    pub(crate) fn admit(&self) -> Result<()> {
        if thread_role::role() == Role::Batch {
            // Output that is fed back comes from the thread that would make room: it may not wait
            // for itself. It is let in even while the context stops: what the last batch feeds back
            // is processed by the next start.
            return Ok(());
        }
        let mut gate = self.gate.lock();
        loop {
            if gate.flow == Flow::Closed {
                return Err(Error::Stopped);
            }
            let unprocessed = self.wal.end_lsn().bytes_since(gate.processed);
            if unprocessed < self.max_unprocessed {
                return Ok(());
            }
            if gate.flow != Flow::Running {
                return Err(Error::NoRoom {
                    unprocessed,
                    max_unprocessed_bytes: self.max_unprocessed,
                    remedy: match gate.flow {
                        Flow::ByHand => "call run_batch(), which processes what is there",
                        _ => "call start() first",
                    },
                });
            }
            self.full.notify_one();
            if self.opened.wait_for(&mut gate, LONG_WAIT).timed_out() {
                let behind = format!("{unprocessed} of at most {} bytes", self.max_unprocessed);
                self.warn(
                    "sources wait: batches do not keep up with them (max_unprocessed_bytes)",
                    &behind,
                );
            }
        }
    }
}
