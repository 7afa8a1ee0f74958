//! Group commit: what makes records durable, and tells those who wait.
//!
//! There is no thread for it. Whoever needs a record durable and finds nobody syncing becomes the leader, syncs
//! everything that is complete, publishes the new frontier and wakes the others; those it did not reach elect the next
//! leader. The first failed sync is final: the kernel drops what it could not write and reports that once, so a retry
//! that succeeds proves nothing.

use crate::cheat::Cheat;
use crate::error::{Result, WalError};
use crate::frame::FrameKind;
use crate::layout::SEGMENT_HEADER_SIZE;
use crate::options::Background;
use crate::segment::{MAX_WRITE_SIZE, Segment, Stores};
use crate::shared::Shared;
use highwater_disk::{PAGE_SIZE, Raised};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

/// Ends the wait for the cohort when the clock stands still.
const MAX_YIELDS: u32 = 10_000;

#[derive(Debug)]
pub(crate) struct Commit {
    /// Everything below is on stable storage.
    durable: AtomicU64,
    /// If the log ends here, nothing but a watermark is not yet durable, and syncing it is not worth a flush.
    idle_end: AtomicU64,
    poison: OnceLock<Arc<Poison>>,
    /// The frontier that was last noted in `LOG`.
    noted: AtomicU64,
    /// How many waits began so far.
    arrivals: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    lead: Lead,
    /// The leader waits until so many have arrived, or for its bound.
    cohort: u64,
    /// Arrivals when the last group was taken.
    taken: u64,
    ended: Ended,
    /// Threads that wait for the leader.
    waiting: usize,
    wakers: BTreeMap<(u64, u64), Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    Free,
    Taken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    Yes,
}

/// The failure that ended this log.
#[derive(Debug)]
pub(crate) struct Poison {
    path: PathBuf,
    offset: u64,
    source: Arc<io::Error>,
}

/// What a leader makes durable: the complete ranges of each segment in order, and the frontier after that.
struct Group {
    parts: Vec<(Arc<Segment>, Range<u64>)>,
    frontier: u64,
}

impl Commit {
    pub(crate) fn new(durable: u64) -> Self {
        let state = State {
            lead: Lead::Free,
            cohort: 0,
            taken: 0,
            ended: Ended::No,
            waiting: 0,
            wakers: BTreeMap::new(),
        };
        Self {
            durable: AtomicU64::new(durable),
            idle_end: AtomicU64::new(durable),
            noted: AtomicU64::new(durable),
            poison: OnceLock::new(),
            arrivals: AtomicU64::new(0),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The error of the failed sync, if one failed.
    pub(crate) fn check(&self) -> Result<()> {
        match self.poison.get() {
            None => Ok(()),
            Some(poison) => Err(WalError::Poisoned {
                path: poison.path.clone(),
                offset: poison.offset,
                source: Arc::clone(&poison.source),
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
            source: Arc::new(source),
        };
        if self.poison.set(Arc::new(poison)).is_ok() {
            tracing::error!(path = %path.display(), offset, "syncing the log failed: it accepts nothing more");
        }
    }

    /// Wakes everybody whose wait may be over.
    fn wake(&self) {
        let done = {
            let mut state = self.state.lock();
            let over = if self.is_poisoned() || state.ended == Ended::Yes {
                u64::MAX
            } else {
                self.durable()
            };
            let later = state.wakers.split_off(&(over, 0));
            self.changed.notify_all();
            std::mem::replace(&mut state.wakers, later)
        };
        done.into_values().for_each(Waker::wake);
    }

    /// Nothing more will become durable: ends those who only watch.
    pub(crate) fn end(&self) {
        self.state.lock().ended = Ended::Yes;
        self.wake();
    }

    /// Waits, without making it so, until the frontier is past `lsn`. `None` if it never will be.
    pub(crate) fn watch(&self, lsn: u64) -> Result<Option<u64>> {
        let mut state = self.state.lock();
        loop {
            let durable = self.durable();
            if durable > lsn {
                return Ok(Some(durable));
            }
            if state.ended == Ended::Yes {
                return Ok(None);
            }
            self.check()?;
            self.changed.wait(&mut state);
        }
    }

    /// Registers `waker` for when the frontier is past `lsn`; false if it already is, or never will be.
    pub(crate) fn register(&self, lsn: u64, id: u64, waker: &Waker) -> Registered {
        let mut state = self.state.lock();
        if self.durable() > lsn || self.is_poisoned() || state.ended == Ended::Yes {
            return Registered::NoNeed;
        }
        state.wakers.insert((lsn, id), waker.clone());
        Registered::Waiting
    }

    pub(crate) fn forget(&self, lsn: u64, id: u64) {
        self.state.lock().wakers.remove(&(lsn, id));
    }

    /// The highest position that a future waits for.
    pub(crate) fn awaited(&self) -> Option<u64> {
        self.state
            .lock()
            .wakers
            .last_key_value()
            .map(|((lsn, _), _)| *lsn)
    }
}

/// Whether a watermark follows the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attest {
    Yes,
    /// The group is a watermark.
    No,
}

/// Whether a waker was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registered {
    Waiting,
    NoNeed,
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

    /// Makes the last watermark durable, which ordinarily is left to the next group: nothing is known to come soon.
    pub(crate) fn settle(&self) -> Result<()> {
        let end = self.end();
        if end != self.commit.idle_end.load(Ordering::Acquire) {
            return Ok(());
        }
        self.sync_until_and(end, Attest::No)
    }

    fn sync_until_and(&self, until: u64, last: Attest) -> Result<()> {
        let commit = &self.commit;
        if commit.durable() >= until {
            return Ok(());
        }
        commit.arrivals.fetch_add(1, Ordering::Relaxed);
        let _urgent = self.raise();
        let mut state = commit.state.lock();
        loop {
            if commit.durable() >= until {
                return Ok(());
            }
            commit.check()?;
            if state.lead == Lead::Taken {
                state.waiting += 1;
                commit.changed.wait(&mut state);
                state.waiting -= 1;
                continue;
            }
            state.lead = Lead::Taken;
            drop(state);
            self.lead(last);
            state = commit.state.lock();
        }
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
    fn lead(&self, last: Attest) {
        let leading = Leading(self);
        self.await_cohort();
        if let Err((path, offset, source)) = self.commit_group(last) {
            self.commit.poison(&path, offset, source);
        }
        drop(leading);
    }

    /// The core: sync in the order of the log, then publish, attest, wake. Nothing is acknowledged by any other place.
    fn commit_group(&self, last: Attest) -> std::result::Result<(), (PathBuf, u64, io::Error)> {
        let commit = &self.commit;
        let before = commit.arrivals.load(Ordering::Relaxed);
        let group = self.complete_group(self.pad().unwrap_or(u64::MAX))?;
        if self.options.cheat == Cheat::AckBeforeSync {
            commit.durable.store(group.frontier, Ordering::Release);
            return Ok(());
        }
        self.cheat_before_sync();
        let start = self.clock.now();
        for (segment, range) in &group.parts {
            for piece in pieces(segment.stores(), range.clone()) {
                let start = piece.start;
                let synced = segment.map().sync(piece);
                synced.map_err(|e| (segment.path.clone(), start, e))?;
            }
        }
        commit.durable.store(group.frontier, Ordering::Release);
        let took = self.clock.now().saturating_sub(start);
        self.counters.sync.record(took);
        self.meters.group(took, &self.dir);
        self.expect_cohort(before);
        if last == Attest::Yes {
            self.attest(group.frontier);
            self.flusher.restless();
        }
        self.note_progress(group.frontier);
        self.counters.group();
        Ok(()) // whoever waits is woken when the lead is given back
    }

    fn cheat_before_sync(&self) {
        match self.options.cheat {
            cheat @ Cheat::LeaderPanics => assert!(cheat == Cheat::None, "as the test wants it"),
            Cheat::LeaderAwaits(others) => {
                while self.commit.state.lock().waiting < others {
                    std::thread::yield_now();
                }
            }
            _ => {}
        }
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

    /// Writes a watermark: proof for recovery that everything below `frontier` was durable. The next sync carries it.
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
        let noted = self.commit.noted.load(Ordering::Relaxed);
        if frontier - noted >= self.options.note_interval {
            self.commit.noted.store(frontier, Ordering::Relaxed);
            self.preparer.note(frontier);
        }
    }

    /// Waits a bounded moment for the producers that the last group released: they are about to come back.
    fn await_cohort(&self) {
        let wait = self.options.group_commit_wait;
        if wait.is_zero() || self.options.background == Background::Inline {
            return;
        }
        let cohort = self.commit.state.lock().cohort;
        if self.commit.arrivals.load(Ordering::Relaxed) >= cohort {
            return;
        }
        let start = self.clock.now();
        for _ in 0..MAX_YIELDS {
            if self.commit.arrivals.load(Ordering::Relaxed) >= cohort
                || self.clock.now().saturating_sub(start) >= wait
            {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// The next group will have those that this one releases, and those that came while it was syncing.
    fn expect_cohort(&self, before: u64) {
        let now = self.commit.arrivals.load(Ordering::Relaxed);
        let mut state = self.commit.state.lock();
        let (released, came) = (before - state.taken, now - before);
        state.taken = before;
        state.cohort = before + released + came;
    }

    /// Appends the first watermark after recovery.
    pub(crate) fn attest_recovered(&self) {
        self.attest(self.commit.durable());
    }
}

/// The writes that make `range` durable, one after the other. Past the page cache no write is longer than
/// [`MAX_WRITE_SIZE`], so that recovery knows how far behind the end of the log it has to look.
fn pieces(stores: Stores, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let longest = match stores {
        Stores::PageCache => u64::MAX,
        Stores::Staged => MAX_WRITE_SIZE,
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

/// Gives the lead back, whatever happens. A leader that unwinds poisons the log: nobody knows what it synced.
struct Leading<'a>(&'a Shared);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let commit = &self.0.commit;
        if std::thread::panicking() {
            commit.poison(
                &self.0.dir,
                commit.durable(),
                io::Error::other("the thread that synced panicked"),
            );
        }
        commit.state.lock().lead = Lead::Free;
        commit.wake();
    }
}
