//! The threads of an active context: one receiver each, one that cuts, one that drives. Started and
//! stopped here.

use crate::batch::driver::Driver;
use crate::batch::{Batch, Snapshot};
use crate::context::builder::BatchMode;
use crate::context::latch::Latch;
use crate::context::own_thread::{Inside, Role};
use crate::context::streaming_context::{Core, StopMode};
use crate::error::{Error, Result};
use crate::ingest::admission::Flow;
use crate::ingest::source::{self, Receiver};
use crate::plan::site::panic_message;
use highwater_wal::WalError;
use highwater_wal::disk::{Notify, WaitResult};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The threads that run.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    pub(crate) receivers: Vec<Thread>,
    pub(crate) cutter: Option<(Arc<CutterSwitch>, Thread)>,
    pub(crate) driver: Option<Thread>,
}

/// A thread of the context.
#[derive(Debug)]
pub(crate) struct Thread {
    /// What it is, and of what.
    pub(crate) name: String,
    /// Opens when it ends.
    pub(crate) ended: Latch,
    pub(crate) handle: JoinHandle<()>,
}

#[derive(Debug, Default)]
pub(crate) struct CutterSwitch {
    off: AtomicBool,
    alarm: Arc<Notify>,
}

impl CutterSwitch {
    pub(crate) fn off(&self) {
        self.off.store(true, Ordering::Release);
        self.alarm.notify_one();
    }
}

/// Batches that were cut and wait for the driver. They wait in the log; this holds only their
/// numbers.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    cuts: VecDeque<Batch>,
    ending: Option<StopMode>,
    /// The driver is inside a batch.
    busy: bool,
}

/// Opens sources and sinks, replays, and starts the threads.
pub(crate) fn start(core: &Arc<Core>, threads: &mut Threads) -> Result<()> {
    let receivers = open_receivers(core)?;
    let (mut driver, cuts) = core.driver()?;
    match core.settings.mode {
        BatchMode::Manual => {
            core.intake.start(Flow::ByHand);
            let _inside = Inside::enter(Role::Batch);
            for batch in cuts {
                core.completed(&driver.run(batch, Snapshot::Skip)?);
            }
            *core.driver.lock() = Some(driver);
        }
        BatchMode::Clock => {
            core.intake.start(Flow::Running);
            core.queue.state.lock().cuts.extend(cuts);
            let on_thread = Arc::clone(core);
            threads.driver = Some(spawn("driver", move || {
                guarded(&on_thread, || drive(&on_thread, driver));
            })?);
            let switch = Arc::new(CutterSwitch {
                off: AtomicBool::new(false),
                alarm: Arc::clone(&core.intake.full),
            });
            let (on_thread, its_switch) = (Arc::clone(core), Arc::clone(&switch));
            // The first interval begins now, not when the thread gets to run.
            let interval = core.settings.batch_interval;
            let first = core.settings.clock.now().saturating_add(interval);
            let cutter = spawn("cutter", move || {
                guarded(&on_thread, || cut(&on_thread, &its_switch, first));
            })?;
            threads.cutter = Some((switch, cutter));
        }
    }
    for (receiver, source) in receivers {
        let name = format!("receiver of \"{}\"", source.name());
        threads.receivers.push(spawn(&name, move || {
            let _inside = Inside::enter(Role::Receiver);
            source::supervise(receiver, &source);
        })?);
    }
    Ok(())
}

type Opened = Vec<(Box<dyn Receiver>, source::SourceContext)>;

fn open_receivers(core: &Core) -> Result<Opened> {
    let mut opened = Vec::new();
    for (info, source) in core.plan.sources.iter().zip(&core.sources) {
        let Some(mut receiver) = info.receiver.as_ref().and_then(|r| r.lock().take()) else {
            continue;
        };
        receiver.open(source).map_err(|error| Error::Source {
            name: info.name.clone(),
            source: error,
        })?;
        opened.push((receiver, source.clone()));
    }
    Ok(opened)
}

pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Thread> {
    let ended = Latch::default();
    let held = ended.hold();
    let kind = name.split(' ').next().unwrap_or_default();
    let handle = std::thread::Builder::new()
        .name(format!("highwater-{kind}"))
        .spawn(move || {
            let _held = held;
            work();
        })
        .map_err(|e| Error::Worker(format!("the {name} thread could not start: {e}")))?;
    let name = name.to_owned();
    Ok(Thread {
        name,
        ended,
        handle,
    })
}

/// Whoever waits for the context learns of a thread that panicked; a bug must not become a hang.
fn guarded(core: &Core, work: impl FnOnce()) {
    let _inside = Inside::enter(Role::Batch);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        end_with(core, Error::Worker(panic_message(&*panic)));
    }
}

/// An error that may be over the next time: nothing was appended, for want of room or of file
/// descriptors (P8), or because the log is at its bound until a checkpoint frees a part of it.
pub(crate) fn may_pass(error: &Error) -> bool {
    matches!(
        error,
        Error::Log(WalError::Io { .. } | WalError::LogFull { .. })
    )
}

/// Cuts a batch every interval, sooner when it is full, and not at all while a batch that is not
/// full waits behind another: a backlog becomes batches of bounded size, not one batch per missed
/// interval.
fn cut(core: &Core, switch: &CutterSwitch, mut next: Duration) {
    let (clock, interval) = (&core.settings.clock, &core.settings.batch_interval);
    while !switch.off.load(Ordering::Acquire) {
        let woken = clock.wait(&switch.alarm, Some(next));
        if switch.off.load(Ordering::Acquire) {
            return;
        }
        if woken == WaitResult::Deadline {
            next = next_tick(next, clock.now(), *interval);
        }
        let full = core.intake.batch_is_full();
        if !full && (woken == WaitResult::Notified || core.queue.is_behind()) {
            continue;
        }
        let mut cutter = core.cutter.lock();
        match cutter.cut() {
            Ok(batch) => {
                core.queue.push(batch);
                if cutter.has_more {
                    switch.alarm.notify_one();
                }
            }
            Err(error) if may_pass(&error) => {
                core.intake.warn(
                    "no batch could be cut; the next interval tries again",
                    &error,
                );
            }
            Err(error) => {
                end_with(core, error);
                return;
            }
        }
    }
}

/// The first multiple of the interval from `due` on that lies after `now`; never, where that is not
/// a time.
fn next_tick(due: Duration, now: Duration, interval: Duration) -> Duration {
    let Some(late) = now.checked_sub(due) else {
        return due;
    };
    let missed = late.as_nanos() / interval.as_nanos().max(1);
    let ticks = u32::try_from(missed).map_or(u32::MAX, |missed| missed.saturating_add(1));
    due.saturating_add(interval.saturating_mul(ticks))
}

/// Runs batches until told to end or one fails.
fn drive(core: &Core, mut driver: Driver) {
    while let Some(batch) = core.queue.next() {
        let ran = driver.run(batch, Snapshot::Skip);
        core.queue.idle();
        match ran {
            Ok(done) => core.completed(&done),
            Err(error) => {
                end_with(core, error);
                break;
            }
        }
    }
    let graceful = core.queue.state.lock().ending == Some(StopMode::Graceful);
    if graceful && core.status.error().is_none() {
        // Everything cut is processed and the sources are closed: one last cut takes in the rest.
        if let Err(error) = final_batches(core, &mut driver) {
            end_with(core, error);
        }
    }
    driver.checkpointer.finish();
}

/// Cuts and runs what is left, in as many batches as it takes, with a checkpoint after the last
/// one. What outputs feed back meanwhile is left to the next start, as is all the rest if an
/// immediate stop comes in between.
pub(crate) fn final_batches(core: &Core, driver: &mut Driver) -> Result<()> {
    let until = core.wal.end_lsn();
    while !core.queue.is_cut_short() {
        let batch = core.cutter.lock().cut()?;
        let snapshot = match batch.to < until {
            true => Snapshot::Skip,
            false => Snapshot::Take,
        };
        core.completed(&driver.run(batch, snapshot)?);
        if snapshot == Snapshot::Take {
            break;
        }
    }
    driver.checkpointer.finish();
    core.board.take_error().map_or(Ok(()), Err)
}

fn end_with(core: &Core, error: Error) {
    tracing::error!(%error, "the streaming context stops");
    core.status.stopped(Some(error));
    quiesce(core);
    core.queue.end(StopMode::Immediate);
}

/// Lets nothing more in.
pub(crate) fn quiesce(core: &Core) {
    core.intake.close();
    core.sources.iter().for_each(source::SourceContext::stop);
}

impl Queue {
    fn push(&self, batch: Batch) {
        self.state.lock().cuts.push_back(batch);
        self.changed.notify_all();
    }

    fn is_behind(&self) -> bool {
        let state = self.state.lock();
        !state.cuts.is_empty() || state.busy
    }

    fn idle(&self) {
        self.state.lock().busy = false;
    }

    /// The next batch, or `None` when the driver is to end.
    fn next(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        loop {
            if state.ending == Some(StopMode::Immediate) {
                return None;
            }
            if let Some(batch) = state.cuts.pop_front() {
                state.busy = true;
                return Some(batch);
            }
            if state.ending.is_some() {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Whether an immediate stop was asked for.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.state.lock().ending == Some(StopMode::Immediate)
    }

    /// Ends the driver; `Immediate` overrides a graceful end that is under way.
    pub(crate) fn end(&self, mode: StopMode) {
        let mut state = self.state.lock();
        if state.ending.is_none() || mode == StopMode::Immediate {
            state.ending = Some(mode);
        }
        self.changed.notify_all();
    }
}
