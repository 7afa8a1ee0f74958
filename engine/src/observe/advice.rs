//! Warnings about checkpoints that do not fit the program, each with what to do.

use crate::observe::checkpoints::CheckpointStatus;
use crate::observe::event::{ContextEvent, ContextListener};
use crate::observe::recovering::pace::PaceMeter;
use crate::observe::recovering::recovery_costs::RecoveryCosts;
use crate::observe::throttle::Throttle;
use highwater_wal::Lsn;
use highwater_wal::disk::Clock;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    /// The time within which a recovery is to be done.
    pub(crate) target: Option<Duration>,
    pub(crate) batch_interval: Duration,
    /// Log bytes that make a checkpoint due.
    pub(crate) max_lineage: u64,
    /// Whether the program has state of its own.
    pub(crate) has_state: bool,
}

/// What is known of the costs of a recovery.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) checkpoints: Arc<CheckpointStatus>,
    pub(crate) pace: Arc<PaceMeter>,
}

impl Measured {
    fn costs(&self) -> Option<RecoveryCosts> {
        let (load, writing) = self.checkpoints.costs()?;
        let pace = self.pace.pace()?;
        Some(RecoveryCosts {
            load,
            writing,
            pace,
        })
    }
}

/// Reads the events, and warns.
#[derive(Debug)]
pub(crate) struct Advisor {
    set: Rhythm,
    measured: Measured,
    /// Whether it was said that the recovery target is out of reach.
    out_of_reach: AtomicBool,
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
    pub(crate) fn new(set: Rhythm, measured: Measured, (covered, from): (u64, Lsn)) -> Self {
        Self {
            set,
            measured,
            out_of_reach: AtomicBool::new(false),
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
        // With a target there is no interval: what writing takes is part of the estimate.
        if self.set.target.is_none()
            && took > self.interval()
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

    /// A target that cannot be met is told once in a run: what is measured goes up and down.
    fn check_target(&self, target: Duration, costs: &RecoveryCosts) {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let at_best = costs.at_best();
        if at_best > target && !self.out_of_reach.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target_ms = ms(target),
                load_ms = ms(costs.load),
                replay_ms = ms(at_best.saturating_sub(costs.load)),
                write_ms = ms(costs.writing),
                "the recovery target is out of reach: loading a checkpoint, and replaying a batch and what comes while two \
                 checkpoints are written, takes longer. As long as it does, checkpoints come as by default. Set a longer target, \
                 .checkpoint(CheckpointPolicy::recovery_target(..)), or make loading or batches faster: more workers or \
                 restore_threads, a faster store, less state"
            );
        }
    }

    /// Whether so much is to be replayed that checkpoints must have failed, or be too slow. A
    /// target beyond reach is as good as none.
    fn is_over(&self, depth: u64, bytes: u64) -> bool {
        let costs = self.set.target.zip(self.measured.costs());
        let over = match costs.filter(|(target, costs)| costs.at_best() <= *target) {
            Some((target, costs)) => costs.of(depth, bytes) > target.saturating_mul(2),
            None => depth > self.set.every.saturating_mul(MAX_INTERVALS),
        };
        over || bytes > self.set.max_lineage.saturating_mul(2)
    }

    /// The log up to `to`, where batch `id` ends, is processed.
    fn completed_batch(&self, id: u64, to: Lsn) {
        if let Some((target, costs)) = self.set.target.zip(self.measured.costs()) {
            self.check_target(target, &costs);
        }
        let mut covered = self.lineage.lock();
        let depth = id.saturating_sub(covered.batch);
        let bytes = to.bytes_since(covered.to);
        let is_over = self.is_over(depth, bytes);
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
