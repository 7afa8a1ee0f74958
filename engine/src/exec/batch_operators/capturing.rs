//! A checkpoint on its way, on one worker: states are copied between batches, a millisecond at a
//! time, and on while there is nothing to do.

use crate::checkpointing::capture::{CaptureSink, Captured, Whole};
use crate::exec::batch_operators::batch_work::BatchWork;
use highwater_wal::disk::Clock;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a batch may have to wait for copies before it begins.
const SLICE: Duration = Duration::from_millis(1);

/// The batch operators of a worker.
pub(in crate::exec) type Units = Vec<Rc<RefCell<BatchWork>>>;

/// What the driver asks of every worker.
#[derive(Debug, Clone)]
pub(in crate::exec) struct CaptureRequest {
    /// The newest epoch whose effects are kept: that of the batch.
    pub(in crate::exec) kept: u64,
    pub(in crate::exec) batch: u64,
    pub(in crate::exec) whole: Whole,
    pub(in crate::exec) sink: CaptureSink,
}

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::exec) enum Copies {
    Done,
    /// The time was over.
    More,
    /// There is no room in memory. The worker's thread is unparked when there is.
    NoRoom,
}

/// The checkpoint on its way, if there is one.
#[derive(Debug)]
pub(in crate::exec) struct Copying {
    clock: Arc<dyn Clock>,
    capturing: Option<Capturing>,
}

impl Copying {
    pub(in crate::exec) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            clock: Arc::clone(clock),
            capturing: None,
        }
    }

    /// Takes over which slots are to be copied; the batch before is settled. What is left of the
    /// checkpoint before is copied first.
    pub(in crate::exec) fn begin(&mut self, request: &CaptureRequest, units: &Units) {
        let began = self.clock.now();
        if let Some(before) = self.capturing.take() {
            before.finish(units);
        }
        for unit in units {
            let mut unit = unit.borrow_mut();
            unit.capture(request.batch, &request.whole, &request.sink);
        }
        self.capturing = Some(Capturing {
            sink: request.sink.clone(),
            at: 0,
        });
        let took = self.clock.now().saturating_sub(began);
        request.sink.status.paused(took);
    }

    /// Copies for a while before a batch begins.
    pub(in crate::exec) fn slice_before_batch(&mut self, units: &Units) {
        let Some(status) = self.capturing.as_ref().map(|c| Arc::clone(&c.sink.status)) else {
            return;
        };
        let began = self.clock.now();
        self.slice(units);
        status.paused(self.clock.now().saturating_sub(began));
    }

    /// Copies for a while; `None` if there is nothing to copy.
    pub(in crate::exec) fn slice(&mut self, units: &Units) -> Option<Copies> {
        let copies = self.capturing.as_mut()?.slice(units, &*self.clock);
        if copies == Copies::Done {
            self.capturing = None;
        }
        Some(copies)
    }
}

/// Copies for a checkpoint.
#[derive(Debug)]
struct Capturing {
    sink: CaptureSink,
    /// The unit that is copied.
    at: usize,
}

impl Capturing {
    /// Copies for a while.
    fn slice(&mut self, units: &Units, clock: &dyn Clock) -> Copies {
        let until = clock.now() + SLICE;
        let (mut has_room, memory) = (true, &self.sink.memory);
        let mut goes_on = || {
            has_room = memory.has_room();
            has_room && clock.now() < until
        };
        while let Some(unit) = units.get(self.at) {
            if !unit.borrow_mut().copy(&self.sink, &mut goes_on) {
                return match has_room {
                    true => Copies::More,
                    false => Copies::NoRoom,
                };
            }
            self.at += 1;
        }
        let _gone = self.sink.messages.send(Captured::Done);
        Copies::Done
    }

    /// Copies what is left, whatever it takes: the next checkpoint is asked for.
    fn finish(mut self, units: &Units) {
        while let Some(unit) = units.get(self.at) {
            while !unit.borrow_mut().copy(&self.sink, &mut || true) {}
            self.at += 1;
        }
        let _gone = self.sink.messages.send(Captured::Done);
    }
}
