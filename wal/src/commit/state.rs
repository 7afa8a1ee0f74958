//! How far the log is durable, why it accepts nothing more, and waiting for either.

use crate::commit::group_commit::GroupCommit;
use crate::commit::waiters::{Until, Waiter, Waiters, Watched};
use crate::error::{Result, WalError};
use crate::facade::tracing;
use highwater_disk::copy_error;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct CommitState {
    dir: PathBuf,
    pub(crate) group_commit: GroupCommit,
    poison: OnceLock<Poison>,
    waiters: Mutex<Waiters>,
    changed: Condvar,
}

/// The failure that ended this log.
#[derive(Debug)]
struct Poison {
    path: PathBuf,
    offset: u64,
    source: io::Error,
}

impl CommitState {
    pub(crate) fn new(dir: PathBuf, durable: u64) -> Self {
        let waiters = Waiters {
            ended: false,
            tasks: BTreeMap::new(),
        };
        Self {
            dir,
            group_commit: GroupCommit::new(durable),
            poison: OnceLock::new(),
            waiters: Mutex::new(waiters),
            changed: Condvar::new(),
        }
    }

    /// The directory of the log.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn durable(&self) -> u64 {
        self.group_commit.durable()
    }

    /// The error of the failed sync, if one failed.
    pub(crate) fn check(&self) -> Result<()> {
        match self.poison.get() {
            None => Ok(()),
            Some(poison) => Err(WalError::Poisoned {
                path: poison.path.clone(),
                offset: poison.offset,
                source: copy_error(&poison.source),
            }),
        }
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poison.get().is_some()
    }

    pub(crate) fn closed_error(&self) -> WalError {
        WalError::Closed {
            dir: self.dir.clone(),
        }
    }

    /// The first failed sync is final. The kernel drops what it could not write and reports that
    /// once, so a retry that succeeds proves nothing.
    pub(crate) fn poison(&self, path: &Path, offset: u64, source: io::Error) {
        let poison = Poison {
            path: path.to_owned(),
            offset,
            source,
        };
        if self.poison.set(poison).is_ok() {
            tracing::error!(path = %path.display(), offset, "syncing the log failed: it accepts nothing more");
        }
    }

    /// Wakes all waiters whose wait may be over.
    pub(crate) fn wake(&self) {
        let done = {
            let mut waiters = self.waiters.lock();
            let over = if self.is_poisoned() || waiters.ended {
                u64::MAX
            } else {
                self.durable()
            };
            let later = waiters.tasks.split_off(&(over, 0));
            self.changed.notify_all();
            std::mem::replace(&mut waiters.tasks, later)
        };
        done.into_values().for_each(Waiter::wake);
    }

    /// Nothing more will become durable: ends all waits.
    pub(crate) fn end(&self) {
        self.waiters.lock().ended = true;
        self.wake();
    }

    /// Waits, without making it so, until the durable LSN is past `lsn`, or for as long as `until`
    /// allows.
    pub(crate) fn watch(&self, lsn: u64, until: &Until<'_>) -> Result<Watched> {
        let mut waiters = self.waiters.lock();
        loop {
            let durable = self.durable();
            if until.is_stopped() {
                return Ok(Watched::Ended);
            }
            if durable > lsn {
                return Ok(Watched::Durable(durable));
            }
            if waiters.ended {
                return Ok(Watched::Ended);
            }
            self.check()?;
            match until.left() {
                None => self.changed.wait(&mut waiters),
                Some(Duration::ZERO) => return Ok(Watched::TimedOut),
                Some(left) => {
                    let _ = self.changed.wait_for(&mut waiters, left);
                }
            }
        }
    }

    /// Registers `waiter` for when the durable LSN is past `lsn`; false if it already is, or never
    /// will be.
    pub(crate) fn register(&self, lsn: u64, id: u64, waiter: Waiter) -> bool {
        let mut waiters = self.waiters.lock();
        let no_need = self.durable() > lsn || self.is_poisoned() || waiters.ended;
        let unwanted = match no_need {
            true => Some(waiter),
            false => waiters.tasks.insert((lsn, id), waiter),
        };
        drop(waiters);
        // Not under the lock: a waker may own its task, and with it something that waits here.
        drop(unwanted);
        !no_need
    }

    /// Has the waiter `id`, task or thread, look again why it waits.
    pub(crate) fn rouse(&self, id: u64) {
        let roused: Vec<Waiter> = {
            let mut waiters = self.waiters.lock();
            self.changed.notify_all();
            let theirs = waiters.tasks.extract_if(.., |(_, of), _| *of == id);
            theirs.map(|(_, waiter)| waiter).collect()
        };
        roused.into_iter().for_each(Waiter::wake);
    }

    pub(crate) fn forget(&self, lsn: u64, id: u64) {
        let unwanted = self.waiters.lock().tasks.remove(&(lsn, id));
        drop(unwanted); // not under the lock, as above
    }

    /// The highest position that a future wants durable.
    pub(crate) fn wanted(&self) -> Option<u64> {
        self.waiters.lock().wanted()
    }
}
