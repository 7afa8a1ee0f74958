//! Giving up the oldest segments by age and by bytes.

use crate::error::Result;
use crate::facade::tracing;
use crate::log::shared::Shared;
use crate::lsn::Lsn;
use crate::options::choices::Background;
use crate::options::settings::Options;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Shared {
    /// Has the log's threads apply the policy, if there are both: one truncates, the other wakes
    /// those who wait for room.
    pub(crate) fn start_retention(self: &Arc<Self>) -> Result<()> {
        let Options {
            retain_for,
            retain_bytes,
            background,
            ..
        } = *self.options;
        let has_policy = retain_for.is_some() || retain_bytes.is_some();
        if !has_policy || background == Background::Inline {
            return Ok(());
        }
        self.flusher.ring()?;
        let shared = Arc::downgrade(self);
        self.maintenance.truncate_by_policy(move || {
            shared
                .upgrade()
                .is_some_and(|shared| shared.apply_retention_beside())
        });
        Ok(())
    }

    /// Gives up what is too old or too much, and wakes those who wait for room.
    pub(crate) fn apply_retention(self: &Arc<Self>) -> Result<()> {
        match self.given_up()? {
            Some(lsn) => self.truncate_before(lsn),
            None => Ok(()),
        }
    }

    /// The same by the log's thread. A log that is being closed or truncated is left alone: closing
    /// waits for this thread. The flusher wakes those who wait. Returns whether any do.
    fn apply_retention_beside(self: &Arc<Self>) -> bool {
        let truncated = self.given_up().and_then(|lsn| match lsn {
            Some(lsn) => self.try_truncate_before(lsn).map(|()| true),
            None => Ok(false),
        });
        match truncated {
            Ok(true) => self.turn.wake_soon(),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "old segments could not be given up");
            }
        }
        self.room.any()
    }

    /// Up to where the policy gives the log up, if that frees a segment.
    fn given_up(self: &Arc<Self>) -> Result<Option<Lsn>> {
        let (first, durable) = (self.retention.first(), self.commit.durable());
        if self.segments.base_of(durable) <= first {
            return Ok(None);
        }
        let of_bytes = self.options.retain_bytes;
        let mut until = of_bytes.map_or(0, |bytes| durable.saturating_sub(bytes));
        if let Some(age) = self.options.retain_for
            && self.may_age()
        {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let limit = self.time.now_ms().saturating_sub(age);
            until = until.max(self.segments_before(limit)?.get());
        }
        let frees = self.segments.base_of(until) > first;
        Ok(frees.then_some(Lsn::new(until)))
    }

    /// Whether the clock can be trusted with deleting. Warns once if not.
    fn may_age(&self) -> bool {
        let Some(jump) = self.time.jump() else {
            self.has_warned_of_jump.store(false, Ordering::Relaxed);
            return true;
        };
        if !self.has_warned_of_jump.swap(true, Ordering::Relaxed) {
            tracing::warn!(dir = %self.dir.display(), ?jump,
                "the wall clock is more than a day from the log's time: retention by age pauses");
        }
        false
    }
}
