//! What may be truncated, and truncating it.

use crate::error::{Result, WalError};
use crate::log::shared::{Closing, Shared};
use crate::lsn::Lsn;
use crate::retention::budget::Pin;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Retention {
    /// Base of the oldest segment that counts. Changed only under `state`.
    first: AtomicU64,
    /// The highest position that somebody wanted to truncate to.
    asked: AtomicU64,
    state: Mutex<Pins>,
}

#[derive(Debug, Default)]
struct Pins {
    next_id: u64,
    by_id: BTreeMap<u64, (u64, Arc<str>)>,
    /// Files that should be gone but could not be removed; tried again at the next truncation.
    doomed: Vec<(PathBuf, u64)>,
}

impl Retention {
    pub(crate) fn new(first: u64) -> Self {
        Self {
            first: AtomicU64::new(first),
            asked: AtomicU64::new(first),
            state: Mutex::default(),
        }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }
}

/// Keeps the log from its position on: [`Wal::truncate_before`](crate::Wal::truncate_before) does
/// not go past it. Let it go by dropping it.
#[derive(Debug)]
#[must_use = "the log is kept only while the guard lives"]
pub struct RetentionGuard {
    shared: Arc<Shared>,
    id: u64,
    lsn: Lsn,
    name: Arc<str>,
}

impl RetentionGuard {
    pub(crate) fn new(shared: &Arc<Shared>, lsn: Lsn, name: &Arc<str>) -> Result<Self> {
        let mut pins = shared.retention.state.lock();
        let first = shared.retention.first();
        if lsn.get() < first {
            return Err(WalError::Truncated {
                asked: lsn,
                first: Lsn::new(first),
            });
        }
        let id = pins.next_id;
        pins.next_id += 1;
        pins.by_id.insert(id, (lsn.get(), Arc::clone(name)));
        Ok(Self {
            shared: Arc::clone(shared),
            id,
            lsn,
            name: Arc::clone(name),
        })
    }

    /// A guard of the oldest position that there is.
    pub(crate) fn oldest(shared: &Arc<Shared>, name: &Arc<str>) -> Self {
        loop {
            if let Ok(guard) = Self::new(shared, Lsn::new(shared.retention.first()), name) {
                return guard;
            }
        }
    }

    /// The position kept.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Moves the guard forward: what lies below `lsn` is no longer needed. Moving back is ignored.
    pub fn advance(&mut self, lsn: Lsn) {
        if lsn > self.lsn {
            self.lsn = lsn;
            self.shared
                .retention
                .state
                .lock()
                .by_id
                .insert(self.id, (lsn.get(), Arc::clone(&self.name)));
        }
    }
}

impl Drop for RetentionGuard {
    fn drop(&mut self) {
        self.shared.retention.state.lock().by_id.remove(&self.id);
    }
}

impl Shared {
    /// Who keeps what, the oldest first.
    pub(crate) fn pins(&self) -> Vec<Pin> {
        let end = self.end();
        let pins = self.retention.state.lock();
        let pin = |(lsn, name): &(u64, Arc<str>)| Pin {
            name: name.to_string(),
            lsn: Lsn::new(*lsn),
            bytes: end.saturating_sub(*lsn),
        };
        let mut pins: Vec<_> = pins.by_id.values().map(pin).collect();
        pins.sort_by_key(|pin| pin.lsn);
        pins
    }

    /// Truncates the segments wholly below `lsn`, below what is durable, and below every guard.
    pub(crate) fn truncate_before(&self, lsn: Lsn) -> Result<()> {
        let truncated = self.truncate(lsn);
        // Without the locks: a waker may run its task, and that truncate.
        self.room.look();
        truncated
    }

    fn truncate(&self, lsn: Lsn) -> Result<()> {
        let closing = self.closing.lock();
        if *closing == Closing::Done {
            return Err(WalError::Closed {
                dir: self.dir.clone(),
            });
        }
        self.commit.check()?;
        let mut pins = self.retention.state.lock();
        self.retention
            .asked
            .fetch_max(lsn.get().min(self.commit.durable()), Ordering::AcqRel);
        let pinned = pins
            .by_id
            .values()
            .map(|(lsn, _)| *lsn)
            .min()
            .unwrap_or(u64::MAX);
        let keep = lsn.get().min(self.commit.durable()).min(pinned);
        let first = self
            .segments
            .read()
            .range(..=keep)
            .next_back()
            .map_or(0, |(base, _)| *base);
        if first <= self.retention.first() {
            self.remove_doomed(&mut pins);
            return Ok(());
        }
        if self.options.faults.unlink_before_meta() {
            self.discard(first, &mut pins);
            // The names go first, durably: what a careless order of the two steps amounts to.
            let _ = self.disk.sync_dir(&self.dir);
        }
        self.ledger.truncate(first, self.commit.durable())?;
        self.retention.first.store(first, Ordering::Release);
        self.discard(first, &mut pins);
        self.ledger.prepare_spare();
        Ok(())
    }

    /// Recycles or removes the segments below `first`. Failing to remove one only costs space.
    fn discard(&self, first: u64, pins: &mut Pins) {
        let below = {
            let mut segments = self.segments.write();
            let kept = segments.split_off(&first);
            std::mem::replace(&mut *segments, kept)
        };
        let budget = self.preparer.budget();
        for segment in below.into_values() {
            let size = segment.size;
            self.counters.truncated(size);
            budget.truncated(segment.base);
            match self.preparer.recycle(segment) {
                Some(unwanted) => pins.doomed.push((unwanted.path.clone(), size)),
                None => budget.let_go(size),
            }
        }
        self.remove_doomed(pins);
    }

    /// What cannot be removed counts against the bound, and is tried again.
    fn remove_doomed(&self, pins: &mut Pins) {
        let budget = self.preparer.budget();
        pins.doomed.retain(|(path, size)| match self.disk.remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a truncated segment could not be removed");
                true
            }
            _ => {
                budget.let_go(*size);
                budget.give_back(*size);
                false
            }
        });
    }
}
