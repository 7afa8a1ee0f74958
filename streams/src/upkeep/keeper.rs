//! What goes on beside requests: checkpoints of the table, streams whose time is over, what streams
//! are not to keep, and the space of the log.

use crate::error::{Error, Result};
use crate::options::Threads;
use crate::recovery::recover;
use crate::recovery::snapshot::{self, Snapshots};
use crate::shared::core::Core;
use crate::state::table::PARTS;
use crate::upkeep::meters::Meters;
use crate::upkeep::moving::{self, Needed};
use crate::upkeep::trim::trim;
use highwater_disk::Notify;
use highwater_wal::{Lsn, RetentionGuard, WalError};
use parking_lot::Mutex;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it looks whether anything is due.
const TURN: Duration = Duration::from_millis(500);

/// Parts of the table that are looked at in one turn of the thread: all of them in eight seconds.
const PARTS_A_TURN: u64 = 16;

/// The log may have so many segments more than twice what is needed.
const SPARE_SEGMENTS: u64 = 4;

/// Segments that are freed in one turn.
const MAX_FREED: usize = 16;

/// What goes on beside requests.
#[derive(Debug)]
pub(crate) struct Keeper {
    state: Mutex<State>,
    notify: Arc<Notify>,
    is_stopped: AtomicBool,
    meters: Meters,
}

#[derive(Debug)]
struct State {
    snapshots: Snapshots,
    /// Before it there is nothing that checkpoints or streams need.
    guard: RetentionGuard,
    /// How far the log may be truncated for checkpoints.
    for_checkpoints: u64,
    /// What was found to be needed of the oldest segment, and how much was freed until then.
    oldest: Option<(Needed, u64)>,
    /// Where the oldest segment ends, by where it begins.
    bounds: Option<(u64, u64)>,
    next_part: u64,
}

impl Keeper {
    /// Reads the table: the newest checkpoint, and what the log has after it.
    pub(crate) fn open(core: &Core, dir: &Path) -> Result<Self> {
        let snapshots = Snapshots::open(core, &dir.join("table"))?;
        let from = snapshot::read_from(&snapshots);
        recover::fold(core, from)?;
        recover::finish(core);
        let first = core.wal.first_lsn();
        let guard = core.wal.retain_as(first, "data of streams")?;
        Ok(Self {
            state: Mutex::new(State {
                for_checkpoints: snapshots.needed(),
                snapshots,
                guard,
                oldest: None,
                bounds: None,
                next_part: 0,
            }),
            notify: Arc::default(),
            is_stopped: AtomicBool::new(false),
            meters: Meters::new(core),
        })
    }

    /// Does what is due, until it is stopped or the log has failed.
    pub(crate) fn run(&self, core: &Core) {
        while !self.is_stopped.load(Ordering::Acquire) {
            match self.tend(core) {
                Err(Error::Log(WalError::Poisoned { .. } | WalError::Closed { .. })) => return,
                Err(error) => tracing::warn!(%error, "what is due beside requests is tried again"),
                Ok(()) => {}
            }
            let deadline = core.options.clock.now().saturating_add(TURN);
            core.options.clock.wait(&self.notify, Some(deadline));
        }
    }

    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Does what is due.
    pub(crate) fn tend(&self, core: &Core) -> Result<()> {
        let tended = self.tend_all(core);
        self.meters.tell(core);
        tended
    }

    fn tend_all(&self, core: &Core) -> Result<()> {
        let mut state = self.state.lock();
        let parts = state.parts(core);
        expire(core, parts.clone())?;
        trim(core, parts)?;
        let grown = core.wal.end_lsn().get().saturating_sub(state.snapshots.lsn);
        let age = core.now_ms().saturating_sub(state.snapshots.taken_ms);
        let interval = core.options.checkpoint_interval.as_millis();
        let is_old = u128::from(age) >= interval && has_changed(core, state.snapshots.lsn);
        if grown >= core.options.checkpoint_bytes || is_old {
            state.take(core)?;
        }
        state.free(core)
    }

    /// Writes a checkpoint now.
    pub(crate) fn checkpoint(&self, core: &Core) -> Result<()> {
        self.state.lock().take(core)
    }
}

impl State {
    /// The parts whose streams are looked at now.
    fn parts(&mut self, core: &Core) -> Range<u64> {
        let parts = PARTS as u64;
        match core.options.threads {
            Threads::None => 0..parts,
            Threads::Own => {
                let first = self.next_part % parts;
                self.next_part = first + PARTS_A_TURN;
                first..self.next_part
            }
        }
    }

    fn take(&mut self, core: &Core) -> Result<()> {
        if let Some(needed) = self.snapshots.take(core)? {
            self.for_checkpoints = needed;
        }
        Ok(())
    }

    /// Frees the oldest segments that are not needed any more, or hardly.
    fn free(&mut self, core: &Core) -> Result<()> {
        if is_near_its_bound(core) {
            // Two of them, and nothing before is needed to start.
            for _ in 0..2 {
                if core.wal.first_lsn().get() + core.options.segment_bytes > self.for_checkpoints {
                    self.take(core)?;
                }
            }
        }
        for _ in 0..MAX_FREED {
            let Some((base, end)) = self.oldest_segment(core)? else {
                return Ok(());
            };
            if end > self.for_checkpoints {
                return Ok(());
            }
            let needed = self.needed_of(core, (base, end))?;
            if needed.bytes > 0 {
                if !is_worth_moving(core, &needed) {
                    return Ok(());
                }
                moving::move_segment(core, (base, end))?;
            }
            self.oldest = None;
            self.guard.advance(Lsn::new(end));
            core.wal.truncate_before(Lsn::new(end))?;
            if core.wal.first_lsn().get() < end {
                return Ok(()); // a reader holds it
            }
        }
        Ok(())
    }

    fn oldest_segment(&mut self, core: &Core) -> Result<Option<(u64, u64)>> {
        let first = core.wal.first_lsn().get();
        if self.bounds.is_none_or(|(base, _)| base != first) {
            self.bounds = moving::oldest_segment(&core.wal)?;
        }
        Ok(self.bounds)
    }

    /// How much is needed of the oldest segment: known from before, unless much was freed since.
    fn needed_of(&mut self, core: &Core, (base, end): (u64, u64)) -> Result<Needed> {
        let freed = core.counters.freed_bytes.load(Ordering::Relaxed);
        if let Some((needed, until)) = &self.oldest
            && (needed.base, needed.end) == (base, end)
            && freed - until < needed.bytes.div_ceil(8)
        {
            return Ok(*needed);
        }
        let needed = moving::needed(core, (base, end))?;
        self.oldest = Some((needed, freed));
        Ok(needed)
    }
}

fn log_bytes(core: &Core) -> u64 {
    core.wal.end_lsn().bytes_since(core.wal.first_lsn())
}

fn is_near_its_bound(core: &Core) -> bool {
    let bound = core.options.max_log_bytes;
    bound.is_some_and(|bound| log_bytes(core) >= bound / 10 * 8)
}

/// Whether a segment is to be freed although some of it is needed.
fn is_worth_moving(core: &Core, oldest: &Needed) -> bool {
    let bytes = oldest.end - oldest.base;
    let live = core.counters.live_bytes.load(Ordering::Relaxed);
    let spare = SPARE_SEGMENTS * core.options.segment_bytes;
    let is_sparse = oldest.bytes * 100 <= bytes * core.options.move_below_percent;
    let is_long = log_bytes(core) > live.saturating_mul(2).saturating_add(spare);
    // Near the bound whatever has something to give.
    let has_room = is_near_its_bound(core) && oldest.bytes * 10 <= bytes * 9;
    is_sparse || is_long || has_room
}

/// Whether a stream has changed since a checkpoint at `lsn`.
fn has_changed(core: &Core, lsn: u64) -> bool {
    core.table.each().any(|part| part.applied > lsn)
}

/// Ends the streams of some parts whose time is over.
fn expire(core: &Core, parts: Range<u64>) -> Result<()> {
    let (now_ms, wall_ms) = (core.now_ms(), core.wall_ms());
    for index in parts {
        let mut part = core.table.part(index);
        if !part.has_bounded() {
            continue;
        }
        let over = part
            .streams()
            .filter(|stream| !stream.is_deleted && stream.is_expired(now_ms, wall_ms));
        let over: Vec<u64> = over.map(|stream| stream.number).collect();
        for number in over {
            if let Some(slot) = part.slot_of_number(number) {
                core.expire(&mut part, slot)?;
            }
        }
    }
    Ok(())
}
