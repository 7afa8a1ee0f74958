//! Segments are made before they are needed, so that neither a full disk nor the price of
//! allocating blocks meets a commit. The next one is made when the log has filled half of the last.

use crate::background::task::Bell;
use crate::background::turn::Turn;
use crate::control::writer::ControlFileWriter;
use crate::error::{Result, WalError};
use crate::facade::tracing;
use crate::maintenance::growth::SegmentSizes;
use crate::metrics::counters::Counters;
use crate::metrics::meters::Meters;
use crate::retention::budget::Budget;
use crate::segment::file::{Origin, Segment};
use crate::segment::maker::SegmentMaker;
use crate::segment::new_segment::NewSegment;
use highwater_disk::Clock;
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
    pub(crate) sizes: SegmentSizes,
    pub(crate) budget: Arc<Budget>,
    pub(crate) control: Arc<ControlFileWriter>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Wakes the thread that makes segments.
    pub(crate) bell: Arc<Bell>,
    pub(crate) queue: Mutex<Queue>,
    /// A segment was made, or could not be.
    pub(crate) made: Condvar,
    /// Tasks that wait for that, or for another thread that goes to the next segment.
    pub(crate) turn: Arc<Turn>,
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
    /// The segment that is to be made, or being made.
    wanted: Option<Shape>,
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

/// The segment to make next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) size: u64,
    /// Size of the segment before it.
    pub(crate) after: u64,
}

/// What making a segment has come to.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It was made from an old one, and is as good as it gets.
    Recycled(Segment),
    /// Its blocks may have to be zeroed.
    New(NewSegment),
}

impl Queue {
    /// With the segments in `ready`, which recovery found after `tail`.
    pub(crate) fn new(ready: VecDeque<Arc<Segment>>, tail: &Segment) -> Self {
        Self {
            demand: Demand::None,
            wanted: None,
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
    pub(crate) fn take_or_make(&self, shape: Shape) -> Result<Arc<Segment>> {
        let base = {
            let mut queue = self.queue.lock();
            if let Some(segment) = queue.ready.pop_front() {
                return Ok(segment);
            }
            queue.next_base
        };
        let start = self.clock.now();
        let took = || self.clock.now().saturating_sub(start);
        let segment = match self.begin(base, shape)? {
            Begun::Recycled(segment) => self.recycled(segment, took()),
            Begun::New(mut new) => {
                let zeroed = new.zero_all().and_then(|()| new.sync());
                self.created(new, zeroed, took())?
            }
        };
        self.queue.lock().next_base = segment.end();
        Ok(segment)
    }

    /// The next segment. Waits for the thread that makes it: as in `shape`, if it is not being made
    /// yet. An error (a full disk, say) is the caller's: the next call tries again.
    pub(crate) fn take(&self, shape: Shape) -> Result<Arc<Segment>> {
        let mut queue = self.queue.lock();
        // A failure from before this call says nothing about now: there may be room again.
        queue.failed = None;
        loop {
            if let Some(segment) = self.take_or_demand(&mut queue, shape)? {
                return Ok(segment);
            }
            self.made.wait(&mut queue);
        }
    }

    /// The next segment, if it is ready. If it is not, it is made now, and this is to be called
    /// again when that is over.
    pub(crate) fn try_take(&self, shape: Shape) -> Result<Option<Arc<Segment>>> {
        self.take_or_demand(&mut self.queue.lock(), shape)
    }

    /// The next segment, if it is ready; an error if it cannot be made. Otherwise it is made now.
    fn take_or_demand(&self, queue: &mut Queue, shape: Shape) -> Result<Option<Arc<Segment>>> {
        if let Some(segment) = queue.ready.pop_front() {
            return Ok(Some(segment));
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
        queue.wanted.get_or_insert(shape);
        self.bell.ring();
        Ok(None)
    }

    /// Has the next segment made ahead, if none is ready or being made.
    pub(crate) fn want(&self, shape: Shape) {
        let mut queue = self.queue.lock();
        if queue.ready.is_empty() && queue.demand == Demand::None {
            queue.demand = Demand::ZeroAhead;
            queue.wanted = Some(shape);
        }
        drop(queue);
        self.bell.ring();
    }

    /// Size of the next segment, if that is decided.
    pub(crate) fn next_size(&self) -> Option<u64> {
        let queue = self.queue.lock();
        let ready = queue.ready.front().map(|segment| segment.size);
        ready.or(queue.wanted.map(|shape| shape.size))
    }

    /// Whether to stop making the next segment ready ahead: an appender waits, or the log closes.
    pub(crate) fn is_urgent(&self) -> bool {
        let queue = self.queue.lock();
        queue.demand == Demand::Urgent || queue.stopped
    }

    /// The segment to make next, with its base, if one is wanted.
    pub(crate) fn next_wanted(&self) -> Option<(u64, Shape)> {
        let queue = self.queue.lock();
        let wanted = queue.wanted.filter(|_| queue.demand != Demand::None);
        wanted.map(|shape| (queue.next_base, shape))
    }

    /// The attempt to make the next segment is over.
    pub(crate) fn finish(&self, made: Result<Arc<Segment>>) {
        let mut queue = self.queue.lock();
        let was_urgent = queue.demand == Demand::Urgent;
        queue.demand = Demand::None;
        queue.wanted = None;
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
                // If no appender asked for it, it says nothing about the time when one does.
                queue.failed = was_urgent.then_some(error);
            }
        }
        self.made.notify_all();
        drop(queue);
        self.turn.wake_soon();
    }

    /// Whether a truncated segment is worth recycling. Otherwise its file is to be removed.
    pub(crate) fn wants(&self, segment: &Segment) -> bool {
        let fits = segment.size <= self.sizes.largest() && segment.origin == Origin::Made;
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
        self.turn.wake_soon();
        self.bell.ring();
    }

    /// Lets go of the segments that are not in use, after [`Self::stop`]. Their files stay.
    pub(crate) fn forget(&self) {
        let mut queue = self.queue.lock();
        let unused = (
            std::mem::take(&mut queue.ready),
            std::mem::take(&mut queue.recyclable),
        );
        drop(queue);
        drop(unused); // without the lock: it takes a while
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.queue.lock().stopped
    }

    /// Makes the segment at `base`, from an old one if one is long enough.
    pub(crate) fn begin(&self, base: u64, shape: Shape) -> Result<Begun> {
        let size = shape.size;
        loop {
            while let Some(old) = self.long_enough(size) {
                if let Some(segment) = self.recycle(base, size, old) {
                    return Ok(Begun::Recycled(segment));
                }
            }
            match self.budget.take(size, &self.maker.dir) {
                Ok(()) => break,
                Err(error) if self.queue.lock().recyclable.is_empty() => return Err(error),
                Err(_) => {} // the log was truncated a moment ago
            }
        }
        let made = NewSegment::create(&self.maker, base, size);
        let made = made.inspect_err(|_| self.budget.give_back(size))?;
        // If another program took its space when it was used last, now is the time.
        self.control.prepare_spare();
        Ok(Begun::New(made))
    }

    /// A segment was recycled in so much time.
    pub(crate) fn recycled(&self, segment: Segment, took: Duration) -> Arc<Segment> {
        self.counters.recycle.record(took);
        self.meters.recycled(took);
        Arc::new(segment)
    }

    /// A segment was made in so much time, or zeroing it failed.
    pub(crate) fn created(
        &self,
        new: NewSegment,
        zeroed: Result<()>,
        took: Duration,
    ) -> Result<Arc<Segment>> {
        if let Err(error) = zeroed {
            self.budget.give_back(new.segment().size);
            new.discard();
            return Err(error);
        }
        self.counters.prepare.record(took);
        self.meters.prepared(took);
        Ok(Arc::new(new.into_segment()))
    }

    /// Of the segments to recycle the shortest that is long enough. If there are only shorter ones,
    /// they are removed: the log has outgrown them.
    fn long_enough(&self, size: u64) -> Option<Arc<Segment>> {
        let mut queue = self.queue.lock();
        let recyclable = &mut queue.recyclable;
        let fitting = recyclable
            .iter()
            .enumerate()
            .filter(|(_, s)| s.size >= size);
        if let Some((index, _)) = fitting.min_by_key(|(_, segment)| segment.size) {
            return Some(recyclable.swap_remove(index));
        }
        let outgrown = std::mem::take(recyclable);
        drop(queue);
        for old in outgrown {
            self.remove(&old);
        }
        None
    }

    /// Removes the file of a truncated segment. Readers that still look at it keep its bytes.
    fn remove(&self, old: &Segment) {
        let _ = self.maker.disk.remove_file(&old.path);
        self.budget.give_back(old.size);
    }

    /// Makes the segment at `base` from the file of `old`; `None` if that cannot be.
    fn recycle(&self, base: u64, size: u64, old: Arc<Segment>) -> Option<Segment> {
        let old_size = old.size;
        match Segment::alone(old) {
            Ok(old) => match old.recycle(&self.maker, base, size) {
                Ok(segment) => {
                    self.budget.give_back(old_size - size);
                    return Some(segment);
                }
                Err(error) => {
                    tracing::debug!(%error, "recycling a segment failed, making a new one");
                }
            },
            Err(held) => {
                // A reader still looks at it: removed now, gone when the reader is.
                let _ = self.maker.disk.remove_file(&held);
            }
        }
        self.budget.give_back(old_size); // its file is gone
        None
    }
}
