//! Warnings about checkpoints that do not fit the program, each with what to do.

use crate::observe::event::{ContextEvent, ContextListener};
use crate::observe::throttle::Throttle;
use highwater_wal::Lsn;
use highwater_wal::disk::Clock;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// State that is checkpointed less often than this is as good as never checkpointed.
const NEVER: Duration = Duration::from_secs(3600);

/// Checkpoints should be this many batches apart at least.
const FEW_BATCHES: u64 = 5;

/// An interval of batches above this means that only full ones are cut.
const NO_TICKS: Duration = Duration::from_secs(365 * 24 * 3600);

/// So many checkpoint intervals of batches may have to be replayed. While one checkpoint is
/// written, the next one cannot begin.
const MAX_INTERVALS: u64 = 3;

/// After a hot key was told of, so many batches go by.
const HOT_KEY_EVERY: u64 = 1000;

/// What the program has set.
#[derive(Debug)]
pub(crate) struct Rhythm {
    pub(crate) clock: Arc<dyn Clock>,
    /// Batches from one checkpoint to the next.
    pub(crate) every: u64,
    /// Whether the program has set them.
    pub(crate) is_chosen: bool,
    pub(crate) batch_interval: Duration,
    /// Log bytes that make a checkpoint due.
    pub(crate) max_lineage: u64,
    /// Whether the program has state of its own.
    pub(crate) has_state: bool,
}

/// Reads the events, and warns.
#[derive(Debug)]
pub(crate) struct Advisor {
    set: Rhythm,
    lineage: Mutex<Covered>,
    slow: Throttle,
    /// From this batch on a hot key is told of again.
    hot_from: AtomicU64,
}

/// What the newest checkpoint covers.
#[derive(Debug)]
struct Covered {
    batch: u64,
    to: Lsn,
    /// Whether it was said that this is too long ago.
    warned: bool,
}

impl Advisor {
    /// For a run that goes on from a checkpoint after batch `covered`, and reads the log from
    /// `from`.
    pub(crate) fn new(set: Rhythm, (covered, from): (u64, Lsn)) -> Self {
        Self {
            set,
            lineage: Mutex::new(Covered {
                batch: covered,
                to: from,
                warned: false,
            }),
            slow: Throttle::default(),
            hot_from: AtomicU64::new(0),
        }
    }

    /// Time from one checkpoint to the next, if no batch is full before its tick.
    fn interval(&self) -> Duration {
        let every = u32::try_from(self.set.every).unwrap_or(u32::MAX);
        self.set.batch_interval.saturating_mul(every)
    }

    fn started(&self) {
        if self.set.every == 1 && self.set.is_chosen {
            tracing::warn!(
                "a checkpoint is taken after every batch: its interval is not above the batch interval, so each batch pays for one. \
                 Set .checkpoint(CheckpointPolicy::every_batches(n)) with n from 5 to 10 (on the builder)"
            );
        } else if self.set.every < FEW_BATCHES && self.set.is_chosen {
            tracing::warn!(
                batches = self.set.every,
                "a checkpoint is taken after every few batches, each of which pays for a good part of one. \
                 Set .checkpoint(CheckpointPolicy::every_batches(n)) with n from 5 to 10 (on the builder)"
            );
        }
        let ticks = self.set.batch_interval <= NO_TICKS;
        if self.set.has_state && ticks && self.interval() > NEVER {
            tracing::warn!(
                batches = self.set.every,
                interval_s = self.interval().as_secs(),
                "state is practically never checkpointed: after a crash all batches since the last checkpoint run again. \
                 Set .checkpoint(CheckpointPolicy::every_batches(n)) with a smaller n (on the builder)"
            );
        }
    }

    fn completed_checkpoint(&self, batch: u64, to: Lsn, took: Duration) {
        *self.lineage.lock() = Covered {
            batch,
            to,
            warned: false,
        };
        if took > self.interval()
            && let Some(held_back) = self.slow.pass(self.set.clock.now())
        {
            tracing::warn!(
                held_back,
                took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                interval_ms = u64::try_from(self.interval().as_millis()).unwrap_or(u64::MAX),
                "a checkpoint took longer than its interval, so they come less often than they should, and a restart replays more. \
                 Set a longer interval, .checkpoint(CheckpointPolicy::every_batches(n)), or use a faster store"
            );
        }
    }

    fn hot_key(&self, batch: u64, event: &ContextEvent) {
        if batch >= self.hot_from.load(Ordering::Relaxed) {
            let next = batch.saturating_add(HOT_KEY_EVERY);
            self.hot_from.store(next, Ordering::Relaxed);
            tracing::warn!(
                "a hot key: {event}. One worker does its work, so more of them do not help. Combine values before they are brought \
                 together (reduce_by_key, aggregate_by_key), or make several keys of it and combine those after that"
            );
        }
    }

    /// The log up to `to`, where batch `id` ends, is processed.
    fn completed_batch(&self, id: u64, to: Lsn) {
        let mut covered = self.lineage.lock();
        let depth = id.saturating_sub(covered.batch);
        let bytes = to.bytes_since(covered.to);
        let is_over = depth > self.set.every.saturating_mul(MAX_INTERVALS)
            || bytes > self.set.max_lineage.saturating_mul(2);
        if is_over && !std::mem::replace(&mut covered.warned, true) {
            tracing::warn!(
                batches = depth,
                bytes,
                "the lineage is over its bound: so much is replayed after a crash, and the log keeps it. \
                 Checkpoints fail or are too slow: context.checkpoints().last_error says why"
            );
        }
    }
}

impl ContextListener for Advisor {
    fn on_event(&self, event: &ContextEvent) {
        match event {
            ContextEvent::Started => self.started(),
            ContextEvent::CheckpointCompleted { batch, took, .. } => {
                self.completed_checkpoint(batch.id, batch.to, *took);
            }
            ContextEvent::HotKey { batch, .. } => self.hot_key(batch.id, event),
            ContextEvent::BatchCompleted { batch, .. } => {
                self.completed_batch(batch.id, batch.to);
            }
            _ => {}
        }
    }
}
