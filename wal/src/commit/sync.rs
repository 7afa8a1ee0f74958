//! Group commit: what makes records durable, and tells those who wait.
//!
//! There is no thread for it. Whoever needs a record durable and finds nobody syncing becomes the
//! leader, syncs everything that is complete, publishes the new frontier and wakes the others;
//! those it did not reach elect the next leader. The first failed sync is final: the kernel drops
//! what it could not write and reports that once, so a retry that succeeds proves nothing.

use crate::commit::group_commit::{Turn, Turns};
use crate::commit::waiters::{Audience, Ended, Registered, Until, Waiter, Watched};
use crate::error::{Result, WalError};
use crate::format::frame::FrameKind;
use crate::format::layout::SEGMENT_HEADER_SIZE;
use crate::log::shared::Shared;
use crate::options::Background;
use crate::segment::file::{Segment, Stores};
use highwater_disk::{DiskError, PAGE_SIZE, Raised, copy_error};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Ends the wait for the cohort when the clock stands still.
const MAX_YIELDS: u32 = 10_000;

#[derive(Debug)]
pub(crate) struct Commit {
    turns: Turns,
    /// If the log ends here, nothing but a watermark is not yet durable, and syncing it is not
    /// worth a flush.
    idle_end: AtomicU64,
    poison: OnceLock<Arc<Poison>>,
    /// The frontier that was last noted in `LOG`.
    noted: AtomicU64,
    audience: Mutex<Audience>,
    changed: Condvar,
}

/// The failure that ended this log.
#[derive(Debug)]
pub(crate) struct Poison {
    path: PathBuf,
    offset: u64,
    source: io::Error,
}

/// What a leader makes durable: the complete ranges of each segment in order, and the frontier
/// after that.
struct Group {
    parts: Vec<(Arc<Segment>, Range<u64>)>,
    frontier: u64,
}

impl Group {
    fn size(&self) -> u64 {
        self.parts
            .iter()
            .map(|(_, range)| range.end - range.start)
            .sum()
    }
}

impl Commit {
    pub(crate) fn new(durable: u64) -> Self {
        let audience = Audience {
            ended: Ended::No,
            waiters: BTreeMap::new(),
        };
        Self {
            turns: Turns::new(durable),
            idle_end: AtomicU64::new(durable),
            noted: AtomicU64::new(durable),
            poison: OnceLock::new(),
            audience: Mutex::new(audience),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.turns.durable()
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

    fn poison(&self, path: &Path, offset: u64, source: io::Error) {
        let poison = Poison {
            path: path.to_owned(),
            offset,
            source,
        };
        if self.poison.set(Arc::new(poison)).is_ok() {
            tracing::error!(path = %path.display(), offset, "syncing the log failed: it accepts nothing more");
        }
    }

    /// Wakes everybody whose wait may be over.
    fn wake(&self) {
        let done = {
            let mut audience = self.audience.lock();
            let over = if self.is_poisoned() || audience.ended == Ended::Yes {
                u64::MAX
            } else {
                self.durable()
            };
            let later = audience.waiters.split_off(&(over, 0));
            self.changed.notify_all();
            std::mem::replace(&mut audience.waiters, later)
        };
        done.into_values().for_each(Waiter::wake);
    }

    /// Nothing more will become durable: ends those who only watch.
    pub(crate) fn end(&self) {
        self.audience.lock().ended = Ended::Yes;
        self.wake();
    }

    /// Waits, without making it so, until the frontier is past `lsn`, and not for ever if `until`
    /// says so.
    pub(crate) fn watch(&self, lsn: u64, until: &Until<'_>) -> Result<Watched> {
        let mut audience = self.audience.lock();
        loop {
            let durable = self.durable();
            if until.is_stopped() {
                return Ok(Watched::Ended);
            }
            if durable > lsn {
                return Ok(Watched::Durable(durable));
            }
            if audience.ended == Ended::Yes {
                return Ok(Watched::Ended);
            }
            self.check()?;
            match until.left() {
                None => self.changed.wait(&mut audience),
                Some(Duration::ZERO) => return Ok(Watched::TimedOut),
                Some(left) => {
                    let _ = self.changed.wait_for(&mut audience, left);
                }
            }
        }
    }

    /// Registers `waker` for when the frontier is past `lsn`; false if it already is, or never will
    /// be.
    pub(crate) fn register(&self, lsn: u64, id: u64, who: Waiter) -> Registered {
        let mut audience = self.audience.lock();
        let no_need = self.durable() > lsn || self.is_poisoned() || audience.ended == Ended::Yes;
        let (registered, unwanted) = match no_need {
            true => (Registered::NoNeed, Some(who)),
            false => {
                let old = audience.waiters.insert((lsn, id), who);
                (Registered::Waiting, old)
            }
        };
        drop(audience);
        // Not under the lock: a waker may own its task, and that whatever else waits here.
        drop(unwanted);
        registered
    }

    /// Has whoever watches or registered with `id` look again why it waits.
    pub(crate) fn rouse(&self, id: u64) {
        let roused: Vec<Waiter> = {
            let mut audience = self.audience.lock();
            self.changed.notify_all();
            let theirs = audience.waiters.extract_if(.., |(_, of), _| *of == id);
            theirs.map(|(_, waiter)| waiter).collect()
        };
        roused.into_iter().for_each(Waiter::wake);
    }

    pub(crate) fn forget(&self, lsn: u64, id: u64) {
        let unwanted = self.audience.lock().waiters.remove(&(lsn, id));
        drop(unwanted); // not under the lock, as above
    }

    /// The highest position that a future waits for.
    pub(crate) fn awaited(&self) -> Option<u64> {
        self.audience.lock().awaited()
    }
}

/// Whether a watermark follows the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attest {
    Yes,
    /// The group is a watermark.
    No,
}

impl Shared {
    /// Everything appended before the call becomes durable.
    pub(crate) fn sync_all(&self) -> Result<()> {
        let end = self.end();
        if end == self.commit.idle_end.load(Ordering::Acquire) {
            return self.commit.check();
        }
        self.sync_until(end)
    }

    /// Returns once the frontier is at least `until`, a position that was handed out.
    pub(crate) fn sync_until(&self, until: u64) -> Result<()> {
        self.sync_until_and(until, Attest::Yes)
    }

    /// As [`Self::sync_until`], for whoever asks for a position. If nothing is missing but the
    /// watermark of the last group, none follows it: asking again and again would never end
    /// otherwise.
    pub(crate) fn sync_below(&self, until: u64) -> Result<()> {
        let last = match until == self.commit.idle_end.load(Ordering::Acquire) {
            true => Attest::No,
            false => Attest::Yes,
        };
        self.sync_until_and(until, last)
    }

    /// Makes the last watermark durable, which ordinarily is left to the next group: nothing is
    /// known to come soon.
    pub(crate) fn settle(&self) -> Result<()> {
        let end = self.end();
        if end != self.commit.idle_end.load(Ordering::Acquire) {
            return Ok(());
        }
        self.sync_until_and(end, Attest::No)
    }

    fn sync_until_and(&self, until: u64, last: Attest) -> Result<()> {
        if self.commit.durable() >= until {
            return Ok(());
        }
        let _urgent = self.raise();
        let turns = &self.commit.turns;
        turns.reach(until, || self.commit.check(), |turn| self.lead(turn, last))
    }

    /// As long as the result lives, the calling thread has the priority of committers.
    fn raise(&self) -> Option<Raised> {
        match self.options.committer_priority.raise() {
            Ok(raised) => raised,
            Err(error) => {
                tracing::debug!(%error, "the priority of a committing thread cannot be raised");
                None
            }
        }
    }

    /// One group, by the thread that leads. Errors go to the poison, where every waiter finds them.
    fn lead(&self, turn: Turn<'_>, last: Attest) {
        let mut leading = Leading {
            shared: self,
            turn: Some(turn),
        };
        if let Some(turn) = &mut leading.turn {
            self.await_cohort(turn);
            if let Err((path, offset, source)) = self.commit_group(turn, last) {
                self.commit.poison(&path, offset, source);
            }
        }
    }

    /// The core: sync in the order of the log, then publish, attest, wake. Nothing is acknowledged
    /// by any other place.
    fn commit_group(
        &self,
        turn: &mut Turn<'_>,
        last: Attest,
    ) -> std::result::Result<(), (PathBuf, u64, io::Error)> {
        let commit = &self.commit;
        let arrivals = commit.turns.arrivals();
        let group = self.complete_group(self.pad().unwrap_or(u64::MAX))?;
        turn.cut(group.frontier, arrivals);
        if self.options.faults.acknowledge_before_sync() {
            turn.publish(group.frontier);
            return Ok(());
        }
        self.options.faults.before_sync(&commit.turns);
        let start = self.clock.now();
        for (segment, range) in &group.parts {
            let longest = self.options.longest_write;
            for piece in pieces(segment.stores(), longest, range.clone()) {
                let start = piece.start;
                let synced = segment.map().sync(piece);
                // It was mapped under another name.
                let synced = synced.map_err(|e| DiskError::about(e, &segment.path));
                synced.map_err(|e| (segment.path.clone(), start, e))?;
            }
        }
        turn.publish(group.frontier);
        let took = self.clock.now().saturating_sub(start);
        self.counters.sync.record(took);
        self.meters.group(took, &self.dir);
        if last == Attest::Yes {
            self.attest(group.frontier);
            self.flusher.restless();
        }
        self.preparer.committed(group.frontier, group.size());
        self.note_progress(group.frontier);
        self.counters.group();
        Ok(()) // whoever waits is woken when the lead is given back
    }

    /// Everything below `limit` that is complete and not yet durable.
    fn complete_group(&self, limit: u64) -> std::result::Result<Group, (PathBuf, u64, io::Error)> {
        let durable = self.commit.durable();
        let tail = self.tail.load_full();
        let segments: Vec<_> = {
            let all = self.segments.read();
            let first = all
                .range(..=durable)
                .next_back()
                .map_or(0, |(base, _)| *base);
            all.range(first..=tail.base)
                .map(|(_, segment)| Arc::clone(segment))
                .collect()
        };
        let mut group = Group {
            parts: Vec::new(),
            frontier: durable,
        };
        for segment in segments {
            if segment.end() <= durable || segment.base >= limit {
                continue;
            }
            let complete = segment.map().complete_prefix().map_err(|e| {
                (
                    segment.path.clone(),
                    segment.map().complete(),
                    io::Error::other(e),
                )
            })?;
            let start = durable
                .saturating_sub(segment.base)
                .max(SEGMENT_HEADER_SIZE);
            let complete = complete.min(limit - segment.base);
            group.frontier = segment.base + complete;
            if start < complete {
                group.parts.push((segment, start..complete));
            }
        }
        Ok(group)
    }

    /// Writes a watermark: proof for recovery that everything below `frontier` was durable. The
    /// next sync carries it.
    fn attest(&self, frontier: u64) {
        let written = self.append_if_room(FrameKind::Watermark, &frontier.to_le_bytes());
        match written {
            Some((start, end)) if start == frontier => {
                self.commit.idle_end.store(end, Ordering::Release)
            }
            _ => {}
        }
    }

    /// Recovery reads the log from the last note on: one every few MiB keeps it short.
    fn note_progress(&self, frontier: u64) {
        // Relaxed, also below: how far was noted decides only when the next note is due.
        let noted = self.commit.noted.load(Ordering::Relaxed);
        if frontier - noted >= self.options.note_interval {
            self.commit.noted.store(frontier, Ordering::Relaxed);
            self.preparer.note(frontier);
        }
    }

    /// The same for a log at rest, however short it is.
    pub(crate) fn note_end(&self) {
        let end = self.commit.durable();
        if self.commit.noted.fetch_max(end, Ordering::Relaxed) < end {
            self.preparer.note(end);
        }
    }

    /// Waits a bounded moment for the producers that the last group released: they are about to
    /// come back.
    fn await_cohort(&self, turn: &Turn<'_>) {
        let wait = self.options.group_commit_wait;
        if wait.is_zero() || self.options.background == Background::Inline {
            return;
        }
        let complete = || self.commit.turns.arrivals() >= turn.cohort();
        if complete() {
            return;
        }
        let start = self.clock.now();
        for _ in 0..MAX_YIELDS {
            if complete() || self.clock.now().saturating_sub(start) >= wait {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Appends the first watermark after recovery.
    pub(crate) fn attest_recovered(&self) {
        // `LOG` says it too. A full log that is opened and closed again and again keeps the rest of
        // its reserve.
        if !self.spares_reserve(&self.tail.load()) {
            self.attest(self.commit.durable());
        }
    }
}

/// The writes that make `range` durable, one after the other. Past the page cache no write is
/// longer than `longest`, so that recovery knows how far behind the end of the log it has to look.
fn pieces(stores: Stores, longest: u64, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let longest = match stores {
        Stores::PageCache => u64::MAX,
        Stores::Staged => longest,
    };
    let mut start = range.start;
    std::iter::from_fn(move || {
        // Each but the last ends with a page: the next one need not write that page again.
        let limit = start.saturating_add(longest) / PAGE_SIZE * PAGE_SIZE;
        let piece = start..range.end.min(limit);
        start = piece.end;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Gives the lead back, whatever happens. A leader that unwinds poisons the log: nobody knows what
/// it synced.
struct Leading<'a> {
    shared: &'a Shared,
    turn: Option<Turn<'a>>,
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let commit = &self.shared.commit;
        if std::thread::panicking() {
            let durable = commit.durable();
            let (path, offset) = match self.shared.segment_of(durable) {
                Some(segment) => (segment.path.clone(), durable - segment.base),
                None => (self.shared.dir.clone(), 0),
            };
            let source = io::Error::other("the thread that synced panicked");
            commit.poison(&path, offset, source);
            if let Some(turn) = &mut self.turn {
                turn.fail();
            }
        }
        drop(self.turn.take());
        commit.wake();
        if commit.is_poisoned() {
            self.shared.room.look();
        }
    }
}
