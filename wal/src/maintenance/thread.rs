//! What is done beside the commits: the next segment is made, the log's memory moves along, and
//! progress is written to the control file.
//!
//! The three know nothing of each other. Making a segment writes as many zeros as it will hold,
//! which commits would have to wait for. So it goes on piece by piece as the log fills the segment
//! before ([`Pace`]), and the other two are done in between.

use crate::background::runner::Runner;
use crate::background::shared;
use crate::background::task::{Bell, Next, Task};
use crate::background::turn::Turn;
use crate::control::writer::ControlFileWriter;
use crate::error::{Result, WalError};
use crate::maintenance::growth::TailAge;
use crate::maintenance::pace::{Pace, REST};
use crate::maintenance::preallocator::{Begun, Preallocator, Shape};
use crate::maintenance::resident_memory::ResidentMemory;
use crate::maintenance::truncate_by_policy::TruncateByPolicy;
use crate::options::choices::Background;
use crate::segment::file::Segment;
use crate::segment::live::LiveSegments;
use crate::segment::new_segment::NewSegment;
use highwater_disk::{Clock, OsClock};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Maintenance {
    background: Background,
    segments: Arc<LiveSegments>,
    preallocator: Preallocator,
    memory: ResidentMemory,
    control: Arc<ControlFileWriter>,
    pace: Pace,
    tail_age: TailAge,
    /// Wakes the thread.
    bell: Arc<Bell>,
    /// How long a rest is does not depend on the clock of the log.
    real_time: OsClock,
    work: Mutex<Work>,
    by_policy: TruncateByPolicy,
    runner: Runner,
}

/// What the thread is at.
#[derive(Debug, Default)]
struct Work {
    making: Option<Making>,
    rest: Option<Rest>,
}

/// A segment that is being zeroed.
#[derive(Debug)]
struct Making {
    new: NewSegment,
    base: u64,
    shape: Shape,
    /// How long it took so far, without waiting for the log.
    took: Duration,
}

/// The log is durable up to here, and at rest if it still is at the deadline.
#[derive(Debug, Clone, Copy)]
struct Rest {
    durable: u64,
    deadline: Duration,
}

impl Maintenance {
    /// Starts the thread, if the log has threads.
    pub(crate) fn start(
        background: Background,
        preallocator: Preallocator,
        segments: &Arc<LiveSegments>,
        memory: ResidentMemory,
        pace: Pace,
    ) -> Result<Arc<Self>> {
        let _now = pace.await_memory(pace.durable());
        let tail_age = TailAge::new(&segments.tail(), preallocator.clock.now());
        let maintenance = Arc::new(Self {
            background,
            segments: Arc::clone(segments),
            memory,
            control: Arc::clone(&preallocator.control),
            pace,
            tail_age,
            bell: Arc::clone(&preallocator.bell),
            real_time: OsClock::new(),
            preallocator,
            work: Mutex::default(),
            by_policy: TruncateByPolicy::default(),
            runner: Runner::default(),
        });
        maintenance.half_full(segments.end());
        let shared = match background {
            Background::Inline => return Ok(maintenance),
            Background::Thread => None,
            Background::Shared => Some(&*shared::MAINTENANCE),
        };
        let name = "highwater-wal-maintenance";
        let started = maintenance.runner.start(name, &maintenance, shared);
        let dir = &maintenance.preallocator.maker.dir;
        started.map_err(|e| WalError::io("starting the maintenance thread of", dir, e))?;
        Ok(maintenance)
    }

    /// The segment that comes after `tail`, in which `needed` bytes are to fit if it is not made
    /// yet.
    pub(crate) fn next_shape(&self, tail: &Segment, needed: u64) -> Shape {
        let decided = self.preallocator.next_size().map(|size| Shape {
            size,
            after: tail.size,
        });
        decided.unwrap_or_else(|| self.decide(tail, needed))
    }

    /// How long the segment after `tail` is, in which `needed` bytes must fit.
    fn decide(&self, tail: &Segment, needed: u64) -> Shape {
        let Preallocator {
            sizes,
            clock,
            budget,
            ..
        } = &self.preallocator;
        let took = clock.now().saturating_sub(self.tail_age.since());
        let wanted = sizes.next(tail.size, tail.map().reserved(), took);
        let wanted = wanted.max(sizes.at_least(needed));
        let room = sizes.whole(budget.ordinary_room());
        let size = match wanted {
            size if size <= room => size,
            _ if needed.max(sizes.smallest()) <= room => room,
            _ => sizes.largest(), // the reserve
        };
        Shape {
            size,
            after: tail.size,
        }
    }

    /// The next segment; waits for it.
    pub(crate) fn take_segment(&self, shape: Shape) -> Result<Arc<Segment>> {
        match self.background {
            Background::Inline => self.preallocator.take_or_make(shape),
            Background::Thread | Background::Shared => self.preallocator.take(shape),
        }
    }

    /// As [`Self::take_segment`]; `None` if it is not made yet, and this is to be called again.
    pub(crate) fn try_take_segment(&self, shape: Shape) -> Result<Option<Arc<Segment>>> {
        match self.background {
            Background::Inline => self.preallocator.take_or_make(shape).map(Some),
            Background::Thread | Background::Shared => self.preallocator.try_take(shape),
        }
    }

    /// The segment `tail` that was taken is in use. Appenders are done with those in `released`.
    pub(crate) fn rotated(&self, tail: &Segment, released: Vec<Arc<Segment>>) {
        self.tail_age.begin(tail, self.preallocator.clock.now());
        self.by_policy.set_due();
        if self.background != Background::Inline {
            self.memory.release(released);
            self.bell.ring();
        }
    }

    /// The log has reached `end`: if that is beyond the middle of its last segment, the next one is
    /// made ahead.
    pub(crate) fn half_full(&self, end: u64) {
        if self.background != Background::Inline && self.tail_age.passes_middle(end) {
            let tail = self.segments.tail();
            self.preallocator.want(self.decide(&tail, 0));
        }
    }

    /// Offers a truncated segment for reuse. Gives it back if it is not wanted: its file is to be
    /// removed.
    pub(crate) fn recycle(&self, segment: Arc<Segment>) -> Option<Arc<Segment>> {
        if !self.preallocator.wants(&segment) {
            return Some(segment);
        }
        let Some(from_file) = segment.without_memory() else {
            self.preallocator.keep(segment);
            return None;
        };
        // Only its file is wanted. Its memory goes first: see `step`.
        if self.background != Background::Inline {
            self.memory.release([segment]);
        }
        self.preallocator.keep(Arc::new(from_file));
        self.bell.ring();
        None
    }

    /// Has it written to the control file that the log is durable up to `durable`.
    pub(crate) fn record_progress(&self, durable: u64) {
        self.control.schedule(durable);
        match self.background {
            Background::Inline => drop(self.control.write_scheduled()),
            Background::Thread | Background::Shared => self.bell.ring(),
        }
    }

    /// A group of `size` bytes is durable, and with it everything below `durable`.
    pub(crate) fn committed(&self, durable: u64, size: u64) {
        self.half_full(durable);
        if self.pace.committed(durable, size) {
            match self.background {
                Background::Inline => while self.move_memory() {},
                Background::Thread | Background::Shared => self.bell.ring(),
            }
        }
    }

    /// Has the thread do this when a segment was begun, and once a minute, or once a second as long
    /// as it returns that a caller waits for it.
    pub(crate) fn truncate_by_policy(&self, apply: impl Fn() -> bool + Send + Sync + 'static) {
        self.by_policy.start(apply);
        self.bell.ring();
    }

    /// Has the thread do that now, if it is to be done at all.
    pub(crate) fn truncate_by_policy_soon(&self) {
        if self.by_policy.set_due() {
            self.bell.ring();
        }
    }

    /// Segments that are made and not yet in use.
    pub(crate) fn segments_ready(&self) -> usize {
        self.preallocator.ready_count()
    }

    /// The tasks that wait for the next segment.
    pub(crate) fn turn(&self) -> &Arc<Turn> {
        &self.preallocator.turn
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.preallocator.stop();
        self.runner.stop(self);
        // Readers may live on: what they do not need goes now.
        self.work.lock().making = None;
        self.preallocator.forget();
        self.memory.drop_released();
    }

    /// What takes little time; false if there is nothing.
    fn do_small_work(&self) -> bool {
        self.memory.drop_released() || self.control.write_scheduled()
    }

    /// Moves the memory of the log along with it, by one step; false if it is where it should be.
    fn move_memory(&self) -> bool {
        self.memory.step(&self.preallocator.ready(), &self.pace)
    }

    /// Begins the segment at `base`.
    fn begin(&self, work: &mut Work, base: u64, shape: Shape) {
        // The memory of a segment is released before its file can be recycled, and a file is
        // recycled only if nothing else shows it.
        self.memory.drop_released();
        let (begun, took) = self.timed(|| self.preallocator.begin(base, shape));
        match begun {
            Err(error) => self.preallocator.finish(Err(error)),
            Ok(Begun::Recycled(segment)) => {
                let made = self.preallocator.recycled(segment, took);
                self.preallocator.finish(Ok(made));
            }
            Ok(Begun::New(new)) => {
                work.making = Some(Making {
                    new,
                    base,
                    shape,
                    took,
                });
            }
        }
    }

    /// Goes on with the segment that is being made, when the log has come as far.
    fn go_on(&self, work: &mut Work, mut making: Making) -> Next {
        let zeroed = match making.new.zeroed() {
            Some(zeroed) if !self.preallocator.is_urgent() => zeroed,
            Some(_) | None => {
                let (synced, took) = self.timed(|| making.new.sync());
                return self.finish(making.new, synced, making.took + took);
            }
        };
        // One step of either in turn: a log so fast that its memory is always late gets its next
        // segment all the same.
        let moved = self.move_memory();
        let due = self
            .pace
            .due(making.base, making.shape.after, zeroed, making.shape.size);
        let rested = !moved && self.has_rested(work);
        let Some(piece) = self.pace.look(due, rested) else {
            work.making = Some(making);
            return match moved {
                true => Next::Again,
                false => self.wait_for_rest(work),
            };
        };
        let (written, took) = self.timed(|| making.new.zero(piece));
        making.took += took;
        if written.is_err() {
            return self.finish(making.new, written, making.took);
        }
        work.making = Some(making);
        Next::Again
    }

    fn finish(&self, new: NewSegment, zeroed: Result<()>, took: Duration) -> Next {
        let made = self.preallocator.created(new, zeroed, took);
        self.preallocator.finish(made);
        Next::Again
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> (T, Duration) {
        let clock = &self.preallocator.clock;
        let start = clock.now();
        let done = work();
        (done, clock.now().saturating_sub(start))
    }

    /// Whether nothing became durable for a while.
    fn has_rested(&self, work: &Work) -> bool {
        let now = self.real_time.now();
        work.rest
            .is_some_and(|rest| rest.durable == self.pace.durable() && rest.deadline <= now)
    }

    /// Waits until something changes, or the log has been at rest for a while.
    fn wait_for_rest(&self, work: &mut Work) -> Next {
        let (durable, now) = (self.pace.durable(), self.real_time.now());
        let rest = match work.rest {
            Some(rest) if rest.durable == durable => rest,
            _ => *work.rest.insert(Rest {
                durable,
                deadline: now.saturating_add(REST),
            }),
        };
        if rest.deadline > now {
            return Next::Wait(Some(rest.deadline));
        }
        self.memory.set_rested(durable);
        Next::Again
    }
}

impl Maintenance {
    fn do_work(&self) -> Next {
        let work = &mut *self.work.lock();
        if let Some(making) = work.making.take() {
            return self.go_on(work, making);
        }
        if let Some((base, shape)) = self.preallocator.next_wanted() {
            self.begin(work, base, shape);
            return Next::Again;
        }
        if self.move_memory() {
            return Next::Again;
        }
        match self.memory.may_rest(self.pace.durable()) {
            true => self.wait_for_rest(work),
            false => Next::Wait(None),
        }
    }
}

impl Task for Maintenance {
    fn step(&self) -> Next {
        if self.preallocator.is_stopped() {
            return Next::Done;
        }
        if self.do_small_work() || self.by_policy.step(self.real_time.now()) {
            return Next::Again;
        }
        match self.do_work() {
            Next::Wait(until) => Next::Wait(until.into_iter().chain(self.by_policy.next()).min()),
            other => other,
        }
    }

    fn clock(&self) -> &dyn Clock {
        &self.real_time
    }

    fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Fails the appenders that wait.
    fn ended(&self) {
        self.preallocator.stop();
    }
}
