//! Segments are made before they are needed: one is always ready, so that neither a full disk nor
//! the price of allocating blocks meets a commit.

use crate::control::writer::ControlFileWriter;
use crate::error::{Result, WalError};
use crate::facade::tracing;
use crate::metrics::counters::Counters;
use crate::metrics::meters::Meters;
use crate::retention::budget::Budget;
use crate::segment::file::{Origin, Segment, SegmentMaker, ZeroAhead};
use highwater_disk::{Clock, Notify};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// At most this many truncated segments wait to be recycled; the others are removed.
const MOST_RECYCLABLE: usize = 3;

/// Makes segments, one ahead.
#[derive(Debug)]
pub(crate) struct Preallocator {
    pub(crate) maker: SegmentMaker,
    pub(crate) budget: Arc<Budget>,
    pub(crate) control: Arc<ControlFileWriter>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Wakes the thread that makes segments.
    pub(crate) wake: Arc<Notify>,
    pub(crate) queue: Mutex<Queue>,
    /// A segment was made, or could not be.
    pub(crate) made: Condvar,
}

#[derive(Debug)]
pub(crate) struct Queue {
    /// Made and not yet in use, in the order of their bases.
    ready: VecDeque<Arc<Segment>>,
    /// Base of the segment to make next.
    next_base: u64,
    /// Truncated segments that may be made into new ones.
    recyclable: Vec<Arc<Segment>>,
    demand: Demand,
    /// Why the last attempt failed; taken by the appender that needed the segment.
    failed: Option<WalError>,
    /// The last attempt failed, and a warning said so: the next failure is no news.
    warned: bool,
    stopped: bool,
}

/// How much the next segment is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Demand {
    None,
    /// It is made ahead, or being made.
    ZeroAhead,
    /// An appender waits for it.
    Urgent,
}

impl Queue {
    /// With the segments in `ready`, which recovery found after `tail`.
    pub(crate) fn new(ready: VecDeque<Arc<Segment>>, tail: &Segment) -> Self {
        Self {
            demand: match ready.is_empty() {
                true => Demand::ZeroAhead,
                false => Demand::None,
            },
            next_base: ready.back().map_or(tail.end(), |last| last.end()),
            ready,
            recyclable: Vec::new(),
            failed: None,
            warned: false,
            stopped: false,
        }
    }
}

impl Preallocator {
    /// The next segment, made by the calling thread if none is ready.
    pub(crate) fn take_or_make(&self) -> Result<Arc<Segment>> {
        let mut queue = self.queue.lock();
        if let Some(segment) = queue.ready.pop_front() {
            return Ok(segment);
        }
        let (base, old) = (queue.next_base, queue.recyclable.pop());
        let size = self.maker.segment_size;
        let made = self.make(base, old, &mut |_| ZeroAhead::Piece(size), &|| {
            Duration::ZERO
        })?;
        queue.next_base = made.end();
        Ok(made)
    }

    /// The next segment. Waits for the thread that makes it. An error (a full disk, say) is the
    /// caller's: the next call tries again.
    pub(crate) fn take(&self) -> Result<Arc<Segment>> {
        let mut queue = self.queue.lock();
        // A failure from before this call says nothing about now: there may be room again.
        queue.failed = None;
        loop {
            if let Some(segment) = queue.ready.pop_front() {
                return Ok(segment);
            }
            if let Some(error) = queue.failed.take() {
                return Err(error);
            }
            if queue.stopped {
                return Err(WalError::Closed {
                    dir: self.maker.dir.clone(),
                });
            }
            queue.demand = Demand::Urgent;
            self.wake.notify_one();
            self.made.wait(&mut queue);
        }
    }

    /// A segment is in use: the next one is made, if none is ready.
    pub(crate) fn want_next(&self) {
        let mut queue = self.queue.lock();
        if queue.ready.is_empty() {
            queue.demand = queue.demand.max(Demand::ZeroAhead);
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Whether to stop making the next segment ready ahead: an appender waits, or the log closes.
    pub(crate) fn is_urgent(&self) -> bool {
        let queue = self.queue.lock();
        queue.demand == Demand::Urgent || queue.stopped
    }

    /// The base of the segment to make next, and a segment to make it from, if one is wanted.
    pub(crate) fn next_wanted(&self) -> Option<(u64, Option<Arc<Segment>>)> {
        let mut queue = self.queue.lock();
        (queue.demand != Demand::None).then(|| (queue.next_base, queue.recyclable.pop()))
    }

    /// The attempt to make the next segment is over.
    pub(crate) fn finish(&self, made: Result<Arc<Segment>>) {
        let mut queue = self.queue.lock();
        queue.demand = Demand::None;
        match made {
            Ok(segment) => {
                queue.warned = false;
                queue.next_base = segment.end();
                queue.ready.push_back(segment);
            }
            Err(error) => {
                if !queue.warned {
                    tracing::warn!(dir = %self.maker.dir.display(), %error, "the next log segment could not be preallocated");
                }
                queue.warned = true;
                queue.failed = Some(error);
            }
        }
        self.made.notify_all();
    }

    /// Whether a truncated segment is worth recycling. Otherwise its file is to be removed.
    pub(crate) fn wants(&self, segment: &Segment) -> bool {
        let fits = segment.size == self.maker.segment_size && segment.origin == Origin::Made;
        let queue = self.queue.lock();
        fits && queue.recyclable.len() < MOST_RECYCLABLE && !queue.stopped
    }

    /// Keeps a truncated segment to make the next one from.
    pub(crate) fn keep(&self, segment: Arc<Segment>) {
        self.queue.lock().recyclable.push(segment);
    }

    /// Segments that are made and not yet in use.
    pub(crate) fn ready(&self) -> Vec<Arc<Segment>> {
        self.queue.lock().ready.iter().map(Arc::clone).collect()
    }

    pub(crate) fn ready_count(&self) -> usize {
        self.queue.lock().ready.len()
    }

    /// No more segments are made: appenders that wait for one get an error.
    pub(crate) fn stop(&self) {
        self.queue.lock().stopped = true;
        self.made.notify_all();
        self.wake.notify_one();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.queue.lock().stopped
    }

    /// Makes the segment at `base`, from `old` if that is possible. `waited` is the time spent
    /// waiting for the log so far, which is no work.
    pub(crate) fn make(
        &self,
        base: u64,
        old: Option<Arc<Segment>>,
        ahead: &mut dyn FnMut(u64) -> ZeroAhead,
        waited: &dyn Fn() -> Duration,
    ) -> Result<Arc<Segment>> {
        let size = self.maker.segment_size;
        let (start, waited_before) = (self.clock.now(), waited());
        let took = || {
            let waited = waited().saturating_sub(waited_before);
            let passed = self.clock.now().saturating_sub(start);
            passed.saturating_sub(waited)
        };
        if let Some(old) = old
            && let Some(segment) = self.recycle(base, old)
        {
            self.counters.recycle.record(took());
            self.meters.recycled(took());
            return Ok(segment);
        }
        self.budget.take(size, &self.maker.dir)?;
        let made = Segment::create(&self.maker, base, ahead).map(Arc::new);
        let made = made.inspect_err(|_| self.budget.give_back(size))?;
        self.counters.prepare.record(took());
        self.meters.prepared(took());
        // If another program took its space when it was used last, now is the time.
        self.control.prepare_spare();
        Ok(made)
    }

    /// Makes the segment at `base` from the file of `old`; `None` if a new file is needed.
    fn recycle(&self, base: u64, old: Arc<Segment>) -> Option<Arc<Segment>> {
        match Segment::alone(old) {
            Ok(old) => match old.recycle(&self.maker, base) {
                Ok(segment) => return Some(Arc::new(segment)),
                Err(error) => {
                    tracing::debug!(%error, "recycling a segment failed, making a new one");
                }
            },
            Err(held) => {
                // A reader still looks at it: removed now, gone when the reader is.
                let _ = self.maker.disk.remove_file(&held);
            }
        }
        self.budget.give_back(self.maker.segment_size); // its file is gone
        None
    }
}
