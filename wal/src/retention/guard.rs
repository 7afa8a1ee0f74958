//! Who keeps the log from being truncated, and from which position on.

use crate::error::{Result, WalError};
use crate::lsn::Lsn;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The start of the log, and the guards that keep it from moving.
#[derive(Debug)]
pub(crate) struct Retention {
    /// Base of the oldest segment that counts. Changed only with `guards` locked.
    first: AtomicU64,
    /// The highest position that a caller asked to truncate to.
    requested: AtomicU64,
    guards: Mutex<Guards>,
}

#[derive(Debug, Default)]
pub(crate) struct Guards {
    next_id: u64,
    by_id: BTreeMap<u64, (u64, Arc<str>)>,
}

/// What keeps the log from a position on: a [`RetentionGuard`] or an open reader.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogHold {
    /// The name that was given, or what it is.
    pub name: String,
    /// The oldest position kept.
    pub lsn: Lsn,
    /// Bytes of log from there to the end.
    pub bytes: u64,
}

impl Retention {
    pub(crate) fn new(first: u64) -> Self {
        Self {
            first: AtomicU64::new(first),
            requested: AtomicU64::new(first),
            guards: Mutex::default(),
        }
    }

    pub(crate) fn first(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    /// The highest position that a caller asked to truncate to.
    pub(crate) fn requested(&self) -> u64 {
        self.requested.load(Ordering::Acquire)
    }

    /// Notes that a caller wants to truncate up to `lsn`, and returns up to where the guards let
    /// it. No guard comes or goes until the result is dropped.
    pub(crate) fn request(&self, lsn: u64) -> (u64, MutexGuard<'_, Guards>) {
        let guards = self.guards.lock();
        self.requested.fetch_max(lsn, Ordering::AcqRel);
        let oldest = guards.by_id.values().map(|(lsn, _)| *lsn).min();
        (lsn.min(oldest.unwrap_or(u64::MAX)), guards)
    }

    /// The log starts at `first` now. The guards are locked: no new one can ask for less.
    pub(crate) fn advance(&self, first: u64, _guards: &MutexGuard<'_, Guards>) {
        self.first.store(first, Ordering::Release);
    }

    /// Who keeps what, the oldest first, in a log that ends at `end`.
    pub(crate) fn holds(&self, end: u64) -> Vec<LogHold> {
        let guards = self.guards.lock();
        let hold = |(lsn, name): &(u64, Arc<str>)| LogHold {
            name: name.to_string(),
            lsn: Lsn::new(*lsn),
            bytes: end.saturating_sub(*lsn),
        };
        let mut holds: Vec<_> = guards.by_id.values().map(hold).collect();
        holds.sort_by_key(|hold| hold.lsn);
        holds
    }

    /// What keeps the log, whose last segment starts at `tail`, from being truncated. The text
    /// completes an error about a full log.
    pub(crate) fn oldest_holder(&self, tail: u64, end: u64) -> String {
        let first = self.first();
        if first == tail {
            return "files of truncated segments could not be removed".to_owned();
        }
        let requested = self.requested();
        match self.holds(end).into_iter().next() {
            // A hold matters if a caller wanted to truncate beyond it.
            Some(hold) if hold.lsn.get() <= requested.max(first) => {
                format!("{} keeps everything from LSN {} on", hold.name, hold.lsn)
            }
            _ if requested > first => {
                format!("nobody keeps it, but it was last truncated up to LSN {requested}")
            }
            _ => format!("nobody has truncated it since LSN {first}"),
        }
    }
}

/// Keeps the log from its position on: [`Wal::truncate_before`](crate::Wal::truncate_before) does
/// not go past it. Drop it to release the log.
#[derive(Debug)]
#[must_use = "the log is kept only while the guard lives"]
pub struct RetentionGuard {
    retention: Arc<Retention>,
    id: u64,
    lsn: Lsn,
    name: Arc<str>,
}

impl RetentionGuard {
    pub(crate) fn new(retention: &Arc<Retention>, lsn: Lsn, name: &Arc<str>) -> Result<Self> {
        let mut guards = retention.guards.lock();
        let first = retention.first();
        if lsn.get() < first {
            return Err(WalError::Truncated {
                asked: lsn,
                first: Lsn::new(first),
            });
        }
        let id = guards.next_id;
        guards.next_id += 1;
        guards.by_id.insert(id, (lsn.get(), Arc::clone(name)));
        Ok(Self {
            retention: Arc::clone(retention),
            id,
            lsn,
            name: Arc::clone(name),
        })
    }

    /// A guard of the oldest position that there is.
    pub(crate) fn oldest(retention: &Arc<Retention>, name: &Arc<str>) -> Self {
        loop {
            if let Ok(guard) = Self::new(retention, Lsn::new(retention.first()), name) {
                return guard;
            }
        }
    }

    /// As [`Self::advance`], but gives up where it would wait for a truncation. Tells whether the
    /// guard is at `lsn`, or beyond it.
    pub(crate) fn try_advance(&mut self, lsn: Lsn) -> bool {
        if lsn <= self.lsn {
            return true;
        }
        let Some(mut guards) = self.retention.guards.try_lock() else {
            return false;
        };
        let moved = (lsn.get(), Arc::clone(&self.name));
        guards.by_id.insert(self.id, moved);
        self.lsn = lsn;
        true
    }

    /// Calls it so from now on.
    pub(crate) fn rename(&mut self, name: &Arc<str>) {
        self.name = Arc::clone(name);
        let mut guards = self.retention.guards.lock();
        let renamed = (self.lsn.get(), Arc::clone(name));
        guards.by_id.insert(self.id, renamed);
    }

    /// The position kept.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let guard = log.retain(log.first_lsn())?;
    /// assert_eq!(guard.lsn(), log.first_lsn());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Moves the guard forward: the log below `lsn` is no longer needed. Moving back is ignored.
    ///
    /// ```
    /// use highwater_wal::Lsn;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let mut backup = log.retain(log.first_lsn())?;
    /// let mut last = log.append([0; 9000])?;
    /// for _ in 0..20 {
    ///     last = log.append([0; 9000])?;
    /// }
    /// log.sync()?;
    /// backup.advance(last); // everything before it is copied
    /// log.truncate_before(last)?;
    /// assert!(log.first_lsn() > Lsn::ZERO);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn advance(&mut self, lsn: Lsn) {
        if lsn > self.lsn {
            self.lsn = lsn;
            let mut guards = self.retention.guards.lock();
            guards
                .by_id
                .insert(self.id, (lsn.get(), Arc::clone(&self.name)));
        }
    }
}

impl Drop for RetentionGuard {
    fn drop(&mut self) {
        self.retention.guards.lock().by_id.remove(&self.id);
    }
}
