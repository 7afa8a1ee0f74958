//! Segments are made before they are needed: one is always ready, so that neither a full disk nor
//! the price of allocating blocks meets a commit.
//!
//! Making one takes as many bytes of zeros as it will hold, which commits would have to wait for.
//! So it goes on piece by piece as the log fills the segment before ([`Pace`]), or when the log is
//! at rest. The same thread moves the part of the log that stands in memory along with it
//! ([`Window`]).

use crate::control::writer::Ledger;
use crate::error::{Result, WalError};
use crate::metrics::counters::Counters;
use crate::metrics::meters::Meters;
use crate::options::choices::Background;
use crate::retention::budget::Budget;
use crate::segment::file::{Ahead, Maker, Origin, Segment, Stores};
use crate::segment::memory_window::{Place, Step, Window};
use crate::segment::pace::{Pace, REST};
use highwater_disk::{Clock, DiskError};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

/// At most this many truncated segments wait to be recycled; the others are removed.
const POOL_SIZE: usize = 3;

/// Makes segments, one ahead.
#[derive(Debug)]
pub(crate) struct Preparer {
    shop: Arc<Shop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shop {
    maker: Maker,
    budget: Arc<Budget>,
    counters: Arc<Counters>,
    meters: Arc<Meters>,
    clock: Arc<dyn Clock>,
    ledger: Arc<Ledger>,
    background: Background,
    pace: Pace,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Made and not yet in use, in the order of their bases.
    ready: VecDeque<Arc<Segment>>,
    /// Base of the segment to make next.
    next_base: u64,
    /// Truncated segments that may be made into new ones.
    pool: Vec<Arc<Segment>>,
    /// The next segment is wanted, or being made.
    wanted: bool,
    /// Somebody waits for it.
    urgent: bool,
    /// Segments that were taken and stand in memory, in the order of their bases: the last one is
    /// appended to.
    held: Vec<Arc<Segment>>,
    /// Which part of them, if it is memory of the process.
    window: Option<Window>,
    /// Where the log was found at rest.
    rested_at: Option<u64>,
    /// Segments to let go of: giving their memory back takes milliseconds.
    trash: Vec<Arc<Segment>>,
    /// How far the log is durable, if that is to be noted in `LOG`.
    note: Option<u64>,
    /// Why the last attempt failed; taken by the appender that needed it.
    failed: Option<WalError>,
    /// The last attempt failed and that was told: the next failure is no news.
    told: Told,
    stopped: bool,
}

/// Whether a state was told already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

impl Preparer {
    /// Starts with the segments in `ready`, that recovery found prepared behind `tail`, which is
    /// appended to.
    pub(crate) fn start(
        maker: Maker,
        budget: Arc<Budget>,
        (counters, meters, clock): (Arc<Counters>, Arc<Meters>, Arc<dyn Clock>),
        ledger: Arc<Ledger>,
        background: Background,
        tail: Arc<Segment>,
        ready: VecDeque<Arc<Segment>>,
    ) -> Result<Self> {
        let end = tail.base + tail.map().reserved();
        let pace = Pace::new(maker.segment_size, end);
        let _now = pace.await_memory(end);
        let wanted = ready.is_empty();
        let next_base = ready.back().map_or(tail.end(), |last| last.end());
        let staged = tail.stores() == Stores::Staged;
        let state = State {
            ready,
            next_base,
            pool: Vec::new(),
            wanted,
            urgent: false,
            held: vec![tail],
            window: staged.then(|| Window::new(maker.segment_size, end)),
            rested_at: None,
            note: None,
            trash: Vec::new(),
            failed: None,
            told: Told::No,
            stopped: false,
        };
        let changed = Condvar::new();
        let shop = Arc::new(Shop {
            maker,
            budget,
            counters,
            meters,
            clock,
            ledger,
            background,
            pace,
            state: Mutex::new(state),
            changed,
        });
        let thread =
            match background {
                Background::Inline => None,
                Background::Thread => {
                    let worker = Arc::clone(&shop);
                    let spawned = std::thread::Builder::new()
                        .name("highwater-wal-prepare".to_owned())
                        .spawn(move || worker.work());
                    Some(spawned.map_err(|e| {
                        WalError::io("starting the preparer of", &shop.maker.dir, e)
                    })?)
                }
            };
        Ok(Self {
            shop,
            thread: Mutex::new(thread),
        })
    }

    /// The next segment; waits for it. An error (a full disk, say) is the caller's: the next call
    /// tries again.
    pub(crate) fn take(&self) -> Result<Arc<Segment>> {
        match self.shop.background {
            Background::Inline => self.shop.take_inline(),
            Background::Thread => self.shop.take_from_thread(),
        }
    }

    /// The segment that was taken is in use: the next one is made. Nobody appends to those in
    /// `released` any more; if there is a thread it lets go of them.
    pub(crate) fn rotated(&self, released: Vec<Arc<Segment>>) {
        let mut state = self.shop.state.lock();
        for segment in &released {
            state.forget(segment.base);
        }
        if self.shop.background == Background::Thread {
            state.trash.extend(released);
            state.wanted |= state.ready.is_empty();
            self.shop.changed.notify_all();
        }
    }

    /// Has it noted in `LOG` that everything below `durable` is.
    pub(crate) fn note(&self, durable: u64) {
        match self.shop.background {
            Background::Inline => self.shop.note(durable),
            Background::Thread => {
                self.shop.state.lock().note = Some(durable);
                self.shop.changed.notify_all();
            }
        }
    }

    /// A group of `size` bytes is durable, and with it everything below `durable`.
    pub(crate) fn committed(&self, durable: u64, size: u64) {
        if self.shop.pace.committed(durable, size) {
            // With the lock, so that it is not missed between the look and the wait.
            let mut state = self.shop.state.lock();
            match self.shop.background {
                Background::Inline => while self.shop.tend(&mut state) {},
                Background::Thread => drop(self.shop.changed.notify_all()),
            }
        }
    }

    /// Offers a truncated segment for reuse. Gives it back if it is not wanted: its file is to be
    /// removed.
    pub(crate) fn recycle(&self, segment: Arc<Segment>) -> Option<Arc<Segment>> {
        let mut state = self.shop.state.lock();
        state.forget(segment.base);
        let fits = segment.size == self.shop.maker.segment_size && segment.origin == Origin::Made;
        if !fits || state.pool.len() >= POOL_SIZE || state.stopped {
            return Some(segment);
        }
        // Only its file is wanted.
        if let Some(from_file) = segment.without_memory() {
            state.pool.push(Arc::new(from_file));
            if self.shop.background == Background::Thread {
                state.trash.push(segment);
                self.shop.changed.notify_all();
            }
        } else {
            state.pool.push(segment);
        }
        None
    }

    /// Segments that are prepared and not yet in use.
    pub(crate) fn ready(&self) -> usize {
        self.shop.state.lock().ready.len()
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.shop.state.lock().stopped = true;
        self.shop.changed.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the thread was noticed by whoever waited for a segment.
            let _ = thread.join();
        }
    }
}

impl State {
    fn take_ready(&mut self) -> Option<Arc<Segment>> {
        let segment = self.ready.pop_front()?;
        self.held.push(Arc::clone(&segment));
        Some(segment)
    }

    /// The segment at `base` is let go of, or its file is to be another's: nobody else may hold it.
    fn forget(&mut self, base: u64) {
        self.held.retain(|segment| segment.base != base);
    }

    fn place(&self, durable: u64) -> Place {
        let front = self.held.last();
        let appended = front.map_or(0, |segment| segment.base + segment.map().reserved());
        Place {
            durable,
            appended: appended.max(durable),
            at_rest: self.rested_at == Some(durable),
        }
    }

    /// What to do next for the memory of the log, and to which segment. If nothing, the next commit
    /// that brings something to do says so.
    fn step(&self, pace: &Pace) -> Option<(Arc<Segment>, Step)> {
        let window = self.window.as_ref()?;
        let segments = || self.held.iter().chain(&self.ready);
        let ranges: Vec<_> = segments().map(|s| s.base..s.end()).collect();
        for _look in 0..2 {
            let place = self.place(pace.durable());
            if let Some(step) = window.next(&ranges, place) {
                let (Step::Provide(range) | Step::GiveBack(range)) = &step;
                let segment = segments().find(|s| s.base <= range.start && range.end <= s.end())?;
                return Some((Arc::clone(segment), step));
            }
            if !pace.await_memory(window.due(&ranges, place)) {
                break;
            }
        }
        None
    }

    /// Whether a log that comes to rest at `durable` gets more memory.
    fn may_rest(&self, durable: u64) -> bool {
        self.window.is_some() && self.rested_at != Some(durable)
    }
}

impl Shop {
    fn take_inline(&self) -> Result<Arc<Segment>> {
        let mut state = self.state.lock();
        if let Some(segment) = state.take_ready() {
            return Ok(segment);
        }
        let (base, old) = (state.next_base, state.pool.pop());
        let made = self.make(base, old, &mut |_| Ahead::Piece(self.maker.segment_size))?;
        state.next_base = made.end();
        state.held.push(Arc::clone(&made));
        Ok(made)
    }

    fn take_from_thread(&self) -> Result<Arc<Segment>> {
        let mut state = self.state.lock();
        // A failure from before this call says nothing about now: there may be room again.
        state.failed = None;
        loop {
            if let Some(segment) = state.take_ready() {
                return Ok(segment);
            }
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            if state.stopped {
                return Err(WalError::Closed {
                    dir: self.maker.dir.clone(),
                });
            }
            (state.wanted, state.urgent) = (true, true);
            self.changed.notify_all();
            self.changed.wait(&mut state);
        }
    }

    /// The thread: makes a segment whenever one is wanted.
    fn work(&self) {
        let _gone = Gone(self);
        if let Err(error) = highwater_disk::take_short_slices() {
            tracing::debug!(%error, "whoever commits may have to wait for the preparer's time slice");
        }
        let mut state = self.state.lock();
        while !state.stopped {
            if self.sweep(&mut state) {
                continue;
            }
            if !state.wanted {
                if self.tend(&mut state) {
                    continue;
                }
                match state.may_rest(self.pace.durable()) {
                    true => self.wait_for_rest(&mut state),
                    false => self.changed.wait(&mut state),
                }
                continue;
            }
            let (base, old) = (state.next_base, state.pool.pop());
            drop(state);
            let made = self.make(base, old, &mut |done| self.go_on(base, done));
            state = self.state.lock();
            state.wanted = false;
            state.urgent = false;
            match made {
                Ok(segment) => {
                    state.told = Told::No;
                    state.next_base = segment.end();
                    state.ready.push_back(segment);
                }
                Err(error) if state.told == Told::Yes => state.failed = Some(error),
                Err(error) => {
                    state.told = Told::Yes;
                    tracing::warn!(dir = %self.maker.dir.display(), %error, "the next log segment could not be prepared");
                    state.failed = Some(error);
                }
            }
            self.changed.notify_all();
        }
    }

    /// What there is to do besides, one thing at a time; false if there is nothing.
    fn sweep(&self, state: &mut MutexGuard<'_, State>) -> bool {
        if !state.trash.is_empty() {
            let trash = std::mem::take(&mut state.trash);
            MutexGuard::unlocked(state, || drop(trash));
            return true;
        }
        match state.note.take() {
            None => false,
            Some(durable) => {
                MutexGuard::unlocked(state, || self.note(durable));
                true
            }
        }
    }

    /// Moves the memory of the log along with it, by one step; false if it is where it should be.
    fn tend(&self, state: &mut MutexGuard<'_, State>) -> bool {
        let Some((segment, step)) = state.step(&self.pace) else {
            return false;
        };
        MutexGuard::unlocked(state, || match &step {
            Step::Provide(range) => {
                let offsets = range.start - segment.base..range.end - segment.base;
                segment.map().prefault(offsets);
            }
            Step::GiveBack(range) => {
                // It stays then, as it did before.
                if let Err(error) = segment.map().give_back(range.end - segment.base) {
                    let error = DiskError::about(error, &segment.path);
                    tracing::debug!(%error, "the log keeps more in memory than it should");
                }
            }
        });
        if let Some(window) = &mut state.window {
            window.done(&step);
        }
        true
    }

    /// Waits until something changes, or the log has been at rest for a while.
    fn wait_for_rest(&self, state: &mut MutexGuard<'_, State>) {
        let before = self.pace.durable();
        let timed_out = self.changed.wait_for(state, REST).timed_out();
        if timed_out && self.pace.durable() == before {
            state.rested_at = Some(before);
        }
    }

    /// Without the note opening reads more, nothing else.
    fn note(&self, durable: u64) {
        if let Err(error) = self.ledger.attest(durable) {
            tracing::debug!(dir = %self.maker.dir.display(), %error, "progress could not be noted in LOG");
        }
    }

    /// Whether to go on with a segment of which `done` bytes are prepared: waits until the log has
    /// come as far.
    fn go_on(&self, base: u64, done: u64) -> Ahead {
        let start = self.clock.now();
        let due = self.pace.due(base, done);
        let mut seen = None;
        let mut state = self.state.lock();
        let ahead = loop {
            if state.urgent || state.stopped {
                break Ahead::Stop;
            }
            if self.sweep(&mut state) {
                continue;
            }
            // One of either in turn: a log so fast that its memory is always behind gets its next
            // segment all the same.
            let tended = self.tend(&mut state);
            seen = seen.filter(|_| !tended); // no time to see it at rest
            if let Some(ahead) = self.pace.look(due, &mut seen) {
                break ahead;
            }
            if !tended {
                self.wait_for_rest(&mut state);
            }
        };
        drop(state);
        let waited = self.clock.now().saturating_sub(start);
        self.pace.waited(waited);
        ahead
    }

    fn make(
        &self,
        base: u64,
        old: Option<Arc<Segment>>,
        ahead: &mut dyn FnMut(u64) -> Ahead,
    ) -> Result<Arc<Segment>> {
        let size = self.maker.segment_size;
        let start = self.clock.now();
        let waited = self.pace.waiting();
        let took = || {
            let waited = self.pace.waiting().saturating_sub(waited);
            self.clock
                .now()
                .saturating_sub(start)
                .saturating_sub(waited)
        };
        match old.map(Segment::alone) {
            Some(Ok(old)) => match old.recycle(&self.maker, base) {
                Ok(segment) => {
                    self.counters.recycle.record(took());
                    self.meters.recycled(took());
                    return Ok(Arc::new(segment));
                }
                Err(error) => {
                    tracing::debug!(%error, "recycling a segment failed, making a new one");
                    self.budget.give_back(size); // its file is gone
                }
            },
            Some(Err(held)) => {
                // A reader still looks at it: removed now, gone when the reader is.
                let _ = self.maker.disk.remove_file(&held);
                self.budget.give_back(size);
            }
            None => {}
        }
        self.budget.take(size, &self.maker.dir)?;
        let made = Segment::create(&self.maker, base, ahead).map(Arc::new);
        let made = made.inspect_err(|_| self.budget.give_back(size))?;
        self.counters.prepare.record(took());
        self.meters.prepared(took());
        // If another program took its space when it was used last, now is the time.
        self.ledger.prepare_spare();
        Ok(made)
    }
}

/// Tells waiters that the thread is gone, even if it panicked.
struct Gone<'a>(&'a Shop);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.state.lock().stopped = true;
        self.0.changed.notify_all();
    }
}
