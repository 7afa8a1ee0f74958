//! Truncating the log: freeing segments that no guard needs.

use crate::error::Result;
use crate::facade::tracing;
use crate::log::shared::Shared;
use crate::lsn::Lsn;
use parking_lot::MutexGuard;

impl Shared {
    /// Truncates the segments wholly below `lsn`, below what is durable, and below every guard.
    pub(crate) fn truncate_before(&self, lsn: Lsn) -> Result<()> {
        let truncated = self.truncate(lsn, &self.is_closed.lock());
        // Without the locks: a waker may run its task, and that truncate.
        self.room.notify();
        truncated
    }

    /// The same, but neither waits for a log that is being closed or truncated, nor wakes anyone.
    pub(crate) fn try_truncate_before(&self, lsn: Lsn) -> Result<()> {
        match self.is_closed.try_lock() {
            Some(is_closed) if !*is_closed => self.truncate(lsn, &is_closed),
            _ => Ok(()),
        }
    }

    fn truncate(&self, lsn: Lsn, is_closed: &MutexGuard<'_, bool>) -> Result<()> {
        if **is_closed {
            return Err(self.commit.closed_error());
        }
        self.commit.check()?;
        let wanted = lsn.get().min(self.commit.durable());
        let (keep, guards) = self.retention.request(wanted);
        let first = self.segments.base_of(keep);
        if first <= self.retention.first() {
            self.remove_leftovers();
            return Ok(());
        }
        if self.options.faults.unlink_before_control() {
            self.discard(first);
            // The names go first, durably: what a careless order of the two steps amounts to.
            let _ = self.options.disk.sync_dir(&self.dir);
        }
        self.control.write_first(first, self.commit.durable())?;
        self.retention.advance(first, &guards);
        self.discard(first);
        self.control.prepare_spare();
        Ok(())
    }

    /// Recycles or removes the segments below `first`. Failing to remove one only costs space.
    fn discard(&self, first: u64) {
        for segment in self.segments.remove_below(first) {
            let size = segment.size;
            self.counters.truncated(size);
            self.budget.truncated(segment.base);
            match self.maintenance.recycle(segment) {
                Some(unwanted) => {
                    let leftover = (unwanted.path.clone(), size);
                    self.leftovers.lock().push(leftover);
                }
                None => self.budget.let_go(size),
            }
        }
        self.remove_leftovers();
    }

    /// Files that cannot be removed count against the bound, and are tried again.
    fn remove_leftovers(&self) {
        self.leftovers.lock().retain(|(path, size)| match self.options.disk.remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a truncated segment could not be removed");
                true
            }
            _ => {
                self.budget.let_go(*size);
                self.budget.give_back(*size);
                false
            }
        });
    }
}
