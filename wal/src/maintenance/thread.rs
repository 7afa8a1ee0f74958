//! What is done beside the commits, by one thread: the next segment is made, the log's memory moves
//! along, and progress is written to the control file.
//!
//! The three know nothing of each other. Making a segment writes as many zeros as it will hold,
//! which commits would have to wait for. So it goes on piece by piece as the log fills the segment
//! before ([`Pace`]), and the thread does the other two in between.

use crate::control::writer::ControlFileWriter;
use crate::error::{Result, WalError};
use crate::maintenance::pace::{Pace, REST};
use crate::maintenance::preallocator::Preallocator;
use crate::maintenance::resident_memory::ResidentMemory;
use crate::options::choices::Background;
use crate::segment::file::{Segment, ZeroAhead};
use highwater_disk::{Clock, Notify, OsClock, WaitResult};
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::JoinHandle;

#[derive(Debug)]
pub(crate) struct Maintenance {
    background: Background,
    preallocator: Preallocator,
    memory: ResidentMemory,
    control: Arc<ControlFileWriter>,
    pace: Pace,
    /// Wakes the thread.
    wake: Arc<Notify>,
    /// How long a rest is does not depend on the clock of the log.
    real_time: OsClock,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Maintenance {
    /// Starts the thread, if the log has threads.
    pub(crate) fn start(
        background: Background,
        preallocator: Preallocator,
        memory: ResidentMemory,
        pace: Pace,
    ) -> Result<Arc<Self>> {
        let _now = pace.await_memory(pace.durable());
        let maintenance = Arc::new(Self {
            background,
            memory,
            control: Arc::clone(&preallocator.control),
            pace,
            wake: Arc::clone(&preallocator.wake),
            real_time: OsClock::new(),
            preallocator,
            thread: Mutex::new(None),
        });
        if background == Background::Thread {
            let worker = Arc::clone(&maintenance);
            let spawned = std::thread::Builder::new()
                .name("highwater-wal-maintenance".to_owned())
                .spawn(move || worker.run());
            let dir = &maintenance.preallocator.maker.dir;
            let thread =
                spawned.map_err(|e| WalError::io("starting the maintenance thread of", dir, e))?;
            *maintenance.thread.lock() = Some(thread);
        }
        Ok(maintenance)
    }

    /// The next segment; waits for it.
    pub(crate) fn take_segment(&self) -> Result<Arc<Segment>> {
        match self.background {
            Background::Inline => self.preallocator.take_or_make(),
            Background::Thread => self.preallocator.take(),
        }
    }

    /// The segment that was taken is in use. Appenders are done with those in `released`.
    pub(crate) fn rotated(&self, released: Vec<Arc<Segment>>) {
        if self.background == Background::Thread {
            self.memory.release(released);
            self.preallocator.want_next();
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
        // Only its file is wanted. Its memory goes first: see `run`.
        if self.background == Background::Thread {
            self.memory.release([segment]);
        }
        self.preallocator.keep(Arc::new(from_file));
        self.wake.notify_one();
        None
    }

    /// Has it written to the control file that the log is durable up to `durable`.
    pub(crate) fn record_progress(&self, durable: u64) {
        self.control.schedule(durable);
        match self.background {
            Background::Inline => drop(self.control.write_scheduled()),
            Background::Thread => self.wake.notify_one(),
        }
    }

    /// A group of `size` bytes is durable, and with it everything below `durable`.
    pub(crate) fn committed(&self, durable: u64, size: u64) {
        if self.pace.committed(durable, size) {
            match self.background {
                Background::Inline => while self.move_memory() {},
                Background::Thread => self.wake.notify_one(),
            }
        }
    }

    /// Segments that are made and not yet in use.
    pub(crate) fn segments_ready(&self) -> usize {
        self.preallocator.ready_count()
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.preallocator.stop();
        if let Some(thread) = self.thread.lock().take() {
            // An appender that waited for a segment has noticed a panic of the thread.
            let _ = thread.join();
        }
    }

    fn run(&self) {
        let _stopped = StopOnDrop(&self.preallocator);
        while !self.preallocator.is_stopped() {
            if self.do_small_work() {
                continue;
            }
            if let Some((base, old)) = self.preallocator.next_wanted() {
                // The memory of a segment is released before its file can be recycled, and a file
                // is recycled only if nothing else shows it.
                self.memory.drop_released();
                let made = self.preallocator.make(
                    base,
                    old,
                    &mut |done| self.zero_ahead(base, done),
                    &|| self.pace.waiting(),
                );
                self.preallocator.finish(made);
            } else if !self.move_memory() {
                match self.memory.may_rest(self.pace.durable()) {
                    true => self.wait_for_rest(),
                    false => drop(self.real_time.wait(&self.wake, None)),
                }
            }
        }
    }

    /// What takes little time; false if there is nothing.
    fn do_small_work(&self) -> bool {
        self.memory.drop_released() || self.control.write_scheduled()
    }

    /// Moves the memory of the log along with it, by one step; false if it is where it should be.
    fn move_memory(&self) -> bool {
        self.memory.step(&self.preallocator.ready(), &self.pace)
    }

    /// Waits until something changes, or the log has been at rest for a while.
    fn wait_for_rest(&self) {
        let before = self.pace.durable();
        let deadline = self.real_time.now().saturating_add(REST);
        let woken = self.real_time.wait(&self.wake, Some(deadline));
        if woken == WaitResult::Deadline && self.pace.durable() == before {
            self.memory.set_rested(before);
        }
    }

    /// Whether to go on with the segment at `base`, of which `done` bytes are zeroed: waits until
    /// the log has come as far.
    fn zero_ahead(&self, base: u64, done: u64) -> ZeroAhead {
        let clock = &self.preallocator.clock;
        let start = clock.now();
        let due = self.pace.due(base, done);
        let mut seen = None;
        let ahead = loop {
            if self.preallocator.is_urgent() {
                break ZeroAhead::Stop;
            }
            if self.do_small_work() {
                continue;
            }
            // One step of either in turn: a log so fast that its memory is always late gets its
            // next segment all the same.
            let moved = self.move_memory();
            seen = seen.filter(|_| !moved); // no time to see it at rest
            if let Some(ahead) = self.pace.look(due, &mut seen) {
                break ahead;
            }
            if !moved {
                self.wait_for_rest();
            }
        };
        self.pace.waited(clock.now().saturating_sub(start));
        ahead
    }
}

/// Fails the appenders that wait when the thread is gone, even if it panicked.
struct StopOnDrop<'a>(&'a Preallocator);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
