//! The cursors of an open log, and how far each is known to be durable.

use crate::error::{Result, WalError};
use crate::lsn::Lsn;
use crate::marks::set::Marks;
use crate::retention::guard::{Retention, RetentionGuard};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The cursors of an open log.
#[derive(Debug)]
pub(crate) struct CursorTable {
    retention: Arc<Retention>,
    by_name: Mutex<BTreeMap<Arc<str>, Entry>>,
    /// Locked while a mark of a cursor is appended: the marks of one come in the order in which
    /// they are recorded.
    order: Mutex<()>,
    /// A position is in memory only.
    is_dirty: AtomicBool,
    /// A mark of a cursor is not known to be durable.
    is_pending: AtomicBool,
}

/// One cursor.
///
/// Invariant: `guard` keeps the log from the lowest of `durable`, `pending` and `wanted` on. After
/// a crash the cursor is at one of the first two.
#[derive(Debug)]
struct Entry {
    guard: RetentionGuard,
    /// A handle of it lives.
    is_open: bool,
    /// How far the consumer has come.
    wanted: u64,
    /// What the last mark says.
    logged: u64,
    durable: u64,
    /// Marks that are not known to be durable: where they end, and what they say.
    pending: VecDeque<(u64, u64)>,
}

/// A cursor of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CursorInfo {
    /// Its name.
    pub name: String,
    /// Where its consumer would go on after a crash.
    pub position: Lsn,
    /// Bytes of log from there to the end.
    pub bytes: u64,
}

impl Entry {
    fn is_dirty(&self) -> bool {
        self.wanted != self.logged
    }

    fn settle(&mut self, durable: u64) {
        let lowest = self.note(durable);
        self.guard.advance(lowest);
    }

    /// As [`Self::settle`], but a guard that would have to wait stays where it is. Tells whether
    /// nothing is left to do.
    fn try_settle(&mut self, durable: u64) -> bool {
        let lowest = self.note(durable);
        self.guard.try_advance(lowest) && self.pending.is_empty()
    }

    /// Everything below `durable` is. Returns the lowest position that the cursor may have after a
    /// crash.
    fn note(&mut self, durable: u64) -> Lsn {
        while let Some((_, position)) = self.pending.pop_front_if(|(end, _)| *end <= durable) {
            self.durable = position;
        }
        let pending = self.pending.iter().map(|(_, position)| *position);
        let lowest = pending.chain([self.durable, self.wanted]).min();
        Lsn::new(lowest.unwrap_or(0))
    }
}

fn hold_name(name: &str) -> Arc<str> {
    Arc::from(format!("the cursor {name:?}"))
}

impl CursorTable {
    /// The cursors of a log that was opened.
    pub(crate) fn new(retention: &Arc<Retention>, marks: &Marks) -> Self {
        let entry = |(name, position): (&Arc<str>, &u64)| {
            let at = Lsn::new(*position);
            let hold = hold_name(name);
            let guard = RetentionGuard::new(retention, at, &hold)
                .unwrap_or_else(|_| RetentionGuard::oldest(retention, &hold));
            let position = guard.lsn().get();
            let entry = Entry {
                guard,
                is_open: false,
                wanted: position,
                logged: position,
                durable: position,
                pending: VecDeque::new(),
            };
            (Arc::clone(name), entry)
        };
        Self {
            retention: Arc::clone(retention),
            by_name: Mutex::new(marks.cursors.iter().map(entry).collect()),
            order: Mutex::default(),
            is_dirty: AtomicBool::new(false),
            is_pending: AtomicBool::new(false),
        }
    }

    /// No other mark of a cursor is appended while the result lives.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.order.lock()
    }

    /// As [`Self::alone`]; `None` if that would have to wait.
    pub(crate) fn try_alone(&self) -> Option<MutexGuard<'_, ()>> {
        self.order.try_lock()
    }

    /// Whether there is a cursor of this name; opens it then.
    ///
    /// # Errors
    /// [`WalError::CursorInUse`].
    pub(crate) fn open(&self, name: &str) -> Result<bool> {
        let mut by_name = self.by_name.lock();
        let Some(entry) = by_name.get_mut(name) else {
            return Ok(false);
        };
        match std::mem::replace(&mut entry.is_open, true) {
            true => Err(WalError::CursorInUse {
                name: name.to_owned(),
            }),
            false => Ok(true),
        }
    }

    /// Adds an open cursor, whose mark ends at `end`.
    pub(crate) fn add(&self, name: &Arc<str>, guard: RetentionGuard, end: u64) {
        let position = guard.lsn().get();
        let entry = Entry {
            guard,
            is_open: true,
            wanted: position,
            logged: position,
            durable: position,
            pending: VecDeque::from([(end, position)]),
        };
        self.by_name.lock().insert(Arc::clone(name), entry);
        self.is_pending.store(true, Ordering::Release);
    }

    /// Keeps the log for a cursor that is to be made.
    pub(crate) fn guard(&self, name: &str, from: Lsn) -> Result<RetentionGuard> {
        match from {
            Lsn::ZERO => Ok(RetentionGuard::oldest(&self.retention, &hold_name(name))),
            from => RetentionGuard::new(&self.retention, from, &hold_name(name)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.lock().len()
    }

    /// Removes a cursor whose removal is durable.
    pub(crate) fn remove(&self, name: &str) {
        let removed = self.by_name.lock().remove(name);
        drop(removed); // its guard, without the lock
    }

    pub(crate) fn close(&self, name: &str) {
        if let Some(entry) = self.by_name.lock().get_mut(name) {
            entry.is_open = false;
        }
    }

    /// What the consumer has come to, and what is durable of that.
    pub(crate) fn positions(&self, name: &str, durable: u64) -> Option<(u64, u64)> {
        let mut by_name = self.by_name.lock();
        let entry = by_name.get_mut(name)?;
        entry.settle(durable);
        Some((entry.wanted, entry.durable))
    }

    /// The consumer has come to `lsn`. Tells whether that is to be written.
    pub(crate) fn advance(&self, name: &str, lsn: u64) -> bool {
        let mut by_name = self.by_name.lock();
        let Some(entry) = by_name.get_mut(name) else {
            return false;
        };
        entry.wanted = entry.wanted.max(lsn);
        if entry.is_dirty() {
            self.is_dirty.store(true, Ordering::Release);
        }
        entry.is_dirty()
    }

    /// The consumer goes back to `lsn`, if the log has that still.
    pub(crate) fn rewind(&self, name: &str, lsn: Lsn) -> Result<()> {
        let guard = self.guard(name, lsn)?;
        let mut by_name = self.by_name.lock();
        let Some(entry) = by_name.get_mut(name) else {
            return Ok(());
        };
        let position = guard.lsn().get();
        entry.wanted = position;
        let before = match position < entry.guard.lsn().get() {
            true => std::mem::replace(&mut entry.guard, guard),
            false => guard,
        };
        if entry.is_dirty() {
            self.is_dirty.store(true, Ordering::Release);
        }
        drop(by_name);
        drop(before);
        Ok(())
    }

    /// What is to be written of one cursor: its position, if the last mark says another; and where
    /// its last mark ends, if that is not known to be durable.
    pub(crate) fn unwritten(&self, name: &str) -> (Option<u64>, Option<u64>) {
        let by_name = self.by_name.lock();
        let Some(entry) = by_name.get(name) else {
            return (None, None);
        };
        let last = entry.pending.back().map(|(end, _)| *end);
        (entry.is_dirty().then_some(entry.wanted), last)
    }

    /// Whether a position is in memory only.
    #[inline]
    pub(crate) fn is_dirty(&self) -> bool {
        self.is_dirty.load(Ordering::Acquire)
    }

    /// The positions that are in memory only. They are to be written now.
    pub(crate) fn take_dirty(&self) -> Vec<(Arc<str>, u64)> {
        self.is_dirty.store(false, Ordering::Release);
        let by_name = self.by_name.lock();
        let dirty = by_name.iter().filter(|(_, entry)| entry.is_dirty());
        dirty
            .map(|(name, entry)| (Arc::clone(name), entry.wanted))
            .collect()
    }

    /// One of them could not be written.
    pub(crate) fn set_dirty(&self) {
        self.is_dirty.store(true, Ordering::Release);
    }

    /// A mark that ends at `end` says that a cursor is at `position`.
    pub(crate) fn logged(&self, name: &str, position: u64, end: u64) {
        if let Some(entry) = self.by_name.lock().get_mut(name) {
            entry.logged = position;
            entry.pending.push_back((end, position));
        }
        self.is_pending.store(true, Ordering::Release);
    }

    /// Everything below `durable` is. The leader of a group calls this: it does not wait for a
    /// truncation, which writes to the disk while it holds the guards. The next group
    /// comes back to what was left, and so does a question for the position of a cursor.
    #[inline]
    pub(crate) fn settle(&self, durable: u64) {
        if self.is_pending.load(Ordering::Acquire)
            && let Some(mut by_name) = self.by_name.try_lock()
        {
            let mut is_pending = false;
            for entry in by_name.values_mut() {
                is_pending |= !entry.try_settle(durable);
            }
            self.is_pending.store(is_pending, Ordering::Release);
        }
    }

    /// All of them, by name, in a log that is durable up to `durable` and ends at `end`.
    pub(crate) fn list(&self, durable: u64, end: u64) -> Vec<CursorInfo> {
        let mut by_name = self.by_name.lock();
        let info = |(name, entry): (&Arc<str>, &mut Entry)| {
            entry.settle(durable);
            CursorInfo::new(name, entry.durable, end)
        };
        by_name.iter_mut().map(info).collect()
    }
}

impl CursorInfo {
    /// Of a cursor at `position` of a log that ends at `end`.
    pub(crate) fn new(name: &str, position: u64, end: u64) -> Self {
        Self {
            name: name.to_owned(),
            position: Lsn::new(position),
            bytes: end.saturating_sub(position),
        }
    }
}
