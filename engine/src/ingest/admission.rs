//! Admission: how much data may wait for processing, for all sources together.

use crate::error::{Error, Result};
use crate::ingest::alarm::Alarm;
use crate::observe::throttle::Throttle;
use crate::thread_role::{self, Role};
use highwater_wal::disk::{Clock, Disk, Notify};
use highwater_wal::{Lsn, Wal};
use parking_lot::{Condvar, Mutex};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A source that has waited this long for room is logged.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// What all sources of a context share: how much may wait, and how much does.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) wal: Arc<Wal>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Notified when a batch is full before its interval ends.
    pub(crate) full: Arc<Notify>,
    /// Notified when nothing more is let in: what waits for something else gives up.
    pub(crate) closing: Arc<Notify>,
    /// Wakes tasks that wait for time to pass.
    pub(crate) alarm: Alarm,
    /// Log bytes that may wait for processing before appends wait.
    max_unprocessed: u64,
    /// Log bytes after which a batch is cut early.
    max_batch: u64,
    /// Where the newest cut is.
    cut: AtomicU64,
    /// Behind the beginning of the newest frame of a source.
    data: AtomicU64,
    state: Mutex<AdmissionState>,
    changed: Condvar,
    /// Warnings about what is scarce for the moment.
    warnings: Throttle,
}

#[derive(Debug)]
struct AdmissionState {
    processed: Lsn,
    pace: Pace,
    flow: Flow,
    /// Tasks that wait for room, or for their rate.
    tasks: Vec<Waker>,
    /// Threads that wait for their rate, by the clock.
    sleepers: Vec<Arc<Notify>>,
}

/// Whether batches make room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Not yet: the context has not been started.
    NotStarted,
    /// Only when the program runs one: manual mode.
    Manual,
    /// Batches run.
    Running,
    /// Nothing is let in any more.
    Closed,
}

/// What an append does while there is no room, or its source is too fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// It waits.
    Wait,
    /// It is refused at once.
    Refuse,
}

impl Admission {
    pub(crate) fn new(
        wal: Arc<Wal>,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        max_unprocessed: u64,
        max_batch: u64,
        (processed, cut): (Lsn, Lsn),
    ) -> Self {
        Self {
            wal,
            disk,
            clock,
            full: Arc::default(),
            closing: Arc::default(),
            alarm: Alarm::default(),
            max_unprocessed,
            max_batch,
            cut: AtomicU64::new(cut.get()),
            data: AtomicU64::new(0),
            state: Mutex::new(AdmissionState {
                processed,
                pace: Pace::default(),
                flow: Flow::NotStarted,
                tasks: Vec::new(),
                sleepers: Vec::new(),
            }),
            changed: Condvar::new(),
            warnings: Throttle::default(),
        }
    }

    /// Warns about something that is tried again and again, but not each time.
    pub(crate) fn warn(&self, message: &str, error: &dyn Display) {
        if let Some(held_back) = self.warnings.pass(self.clock.now()) {
            tracing::warn!(%error, held_back, "{message}");
        }
    }

    /// Everything below `lsn` was processed: appends that wait for room go on.
    pub(crate) fn processed(&self, lsn: Lsn) {
        let (now, end) = (self.clock.now(), self.wal.end_lsn());
        self.change(|state| {
            let (bytes, waiting) = (lsn.bytes_since(state.processed), end.bytes_since(lsn));
            state.pace.processed(bytes, waiting, now);
            state.processed = state.processed.max(lsn);
        });
    }

    /// Changes the state, and wakes those who wait for it.
    fn change(&self, change: impl FnOnce(&mut AdmissionState)) {
        let mut state = self.state.lock();
        change(&mut state);
        let tasks = std::mem::take(&mut state.tasks);
        state.sleepers.iter().for_each(|s| s.notify_one());
        drop(state);
        self.changed.notify_all();
        tasks.into_iter().for_each(Waker::wake);
    }

    /// A cut was made at `lsn`.
    pub(crate) fn cut_at(&self, lsn: Lsn) {
        self.cut.fetch_max(lsn.get(), Ordering::Relaxed);
    }

    /// A frame of a source is at `lsn`.
    pub(crate) fn has_data_at(&self, lsn: Lsn) {
        let behind = lsn.get().saturating_add(1);
        self.data.fetch_max(behind, Ordering::Relaxed);
    }

    /// Whether there is a frame of a source after the newest cut.
    pub(crate) fn has_uncut_data(&self) -> bool {
        self.data.load(Ordering::Relaxed) > self.cut.load(Ordering::Relaxed)
    }

    /// Log bytes after the newest cut.
    pub(crate) fn uncut_bytes(&self) -> u64 {
        self.wal
            .end_lsn()
            .get()
            .saturating_sub(self.cut.load(Ordering::Relaxed))
    }

    /// Whether the batch being filled has reached its bound.
    pub(crate) fn batch_is_full(&self) -> bool {
        self.uncut_bytes() >= self.max_batch
    }

    /// Lets nothing in any more: appends that wait for room fail with [`Error::Stopped`].
    pub(crate) fn close(&self) {
        self.change(|state| state.flow = Flow::Closed);
        self.closing.notify_one();
        self.alarm.end();
    }

    /// The context has been started.
    pub(crate) fn start(&self, flow: Flow) {
        self.change(|state| {
            if state.flow == Flow::NotStarted {
                state.flow = flow;
            }
        });
    }

    /// Whether batches make room.
    pub(crate) fn flow(&self) -> Flow {
        self.state.lock().flow
    }

    /// Wakes everything that waits, to look again.
    pub(crate) fn wake(&self) {
        self.change(|_| ());
    }

    /// Wakes a task at the next change.
    pub(crate) fn wake_later(&self, waker: &Waker) {
        let tasks = &mut self.state.lock().tasks;
        if !tasks.iter().any(|task| task.will_wake(waker)) {
            tasks.push(waker.clone());
        }
    }

    /// What a thread waits with that waits for time to pass. Each change wakes it.
    pub(crate) fn sleeper(&self) -> Sleeper<'_> {
        let notify = Arc::new(Notify::default());
        self.state.lock().sleepers.push(Arc::clone(&notify));
        Sleeper {
            admission: self,
            notify,
        }
    }

    /// Whether nothing is let in any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().flow == Flow::Closed
    }

    /// Waits until there is room for more unprocessed data; an error where no batch would ever make
    /// it.
    pub(crate) fn admit(&self) -> Result<()> {
        let mut state = self.state.lock();
        while let Some(unprocessed) = self.excess(&state)? {
            if state.flow != Flow::Running {
                return Err(self.no_room(unprocessed, &state));
            }
            self.full.notify_one();
            if self.changed.wait_for(&mut state, LONG_WAIT).timed_out() {
                let found = format!("{unprocessed} of at most {} bytes", self.max_unprocessed);
                self.warn(
                    "sources wait: batches do not keep up with them (max_unprocessed_bytes)",
                    &found,
                );
            }
        }
        Ok(())
    }

    /// The same without waiting: an error if there is no room at the moment.
    pub(crate) fn try_admit(&self) -> Result<()> {
        let state = self.state.lock();
        let Some(unprocessed) = self.excess(&state)? else {
            return Ok(());
        };
        self.full.notify_one();
        Err(self.no_room(unprocessed, &state))
    }

    /// The same for a task, which is woken when there may be room.
    pub(crate) fn poll_admit(&self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.state.lock();
        match self.excess(&state) {
            Err(error) => Poll::Ready(Err(error)),
            Ok(None) => Poll::Ready(Ok(())),
            Ok(Some(unprocessed)) if state.flow != Flow::Running => {
                Poll::Ready(Err(self.no_room(unprocessed, &state)))
            }
            Ok(Some(_)) => {
                self.full.notify_one();
                let tasks = &mut state.tasks;
                if !tasks.iter().any(|task| task.will_wake(context.waker())) {
                    tasks.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// The unprocessed bytes, if they are so many that nothing may be added.
    fn excess(&self, state: &AdmissionState) -> Result<Option<u64>> {
        if thread_role::role() == Role::Batch {
            // Output that is fed back comes from the thread that would make room: it may not wait
            // for itself. It is let in even while the context stops: what the last batch feeds back
            // is processed by the next start.
            return Ok(None);
        }
        if state.flow == Flow::Closed {
            return Err(Error::Stopped);
        }
        let unprocessed = self.wal.end_lsn().bytes_since(state.processed);
        Ok((unprocessed >= self.max_unprocessed).then_some(unprocessed))
    }

    fn no_room(&self, unprocessed: u64, state: &AdmissionState) -> Error {
        Error::NoRoom {
            unprocessed,
            max_unprocessed_bytes: self.max_unprocessed,
            retry_in: state.pace.time_for(unprocessed),
            remedy: match state.flow {
                Flow::Manual => "call run_batch(), which processes what is there",
                Flow::NotStarted => "call start() first",
                Flow::Running | Flow::Closed => "try again after the next batch",
            },
        }
    }
}

/// How fast batches make room, while something waits for them.
#[derive(Debug, Default)]
struct Pace {
    /// When a batch ended behind which more waited.
    since: Option<Duration>,
    /// Half of it is what was last seen.
    bytes_per_s: Option<f64>,
}

impl Pace {
    /// A batch of so many bytes has ended, and so many wait behind it.
    fn processed(&mut self, bytes: u64, waiting: u64, now: Duration) {
        // If nothing had waited, the time since then is that of the senders.
        if let Some(since) = self.since.filter(|since| *since < now) {
            let seen = bytes as f64 / (now - since).as_secs_f64();
            let pace = self
                .bytes_per_s
                .map_or(seen, |before| before.midpoint(seen));
            self.bytes_per_s = Some(pace);
        }
        self.since = (waiting > 0).then_some(now);
    }

    fn time_for(&self, bytes: u64) -> Option<Duration> {
        let pace = self.bytes_per_s?;
        Duration::try_from_secs_f64(bytes as f64 / pace).ok()
    }
}

/// What a thread waits with that waits for time to pass.
#[derive(Debug)]
pub(crate) struct Sleeper<'a> {
    admission: &'a Admission,
    notify: Arc<Notify>,
}

impl Sleeper<'_> {
    /// Waits until the clock reaches `deadline`, or something has changed.
    pub(crate) fn wait_until(&self, deadline: Duration) {
        let _woken = self.admission.clock.wait(&self.notify, Some(deadline));
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        state.sleepers.retain(|s| !Arc::ptr_eq(s, &self.notify));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_batches_for_which_something_waited() {
        let (mut pace, at) = (Pace::default(), Duration::from_secs);
        pace.processed(7000, 0, at(1));
        pace.processed(7000, 100, at(2));
        assert_eq!(pace.time_for(1000), None, "nothing waited before");
        pace.processed(100, 0, at(4)); // 50 bytes per second
        assert_eq!(pace.time_for(1000), Some(at(20)));
        pace.processed(1, 500, at(1000));
        assert_eq!(pace.time_for(1000), Some(at(20)), "a rest is no pace");
        pace.processed(150, 0, at(1001));
        assert_eq!(pace.time_for(1000), Some(at(10)), "100, the middle");
        pace.processed(150, 10, at(1001));
        pace.processed(150, 10, at(1001));
        assert_eq!(pace.time_for(0), Some(Duration::ZERO), "no time has passed");
    }
}
