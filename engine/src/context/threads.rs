//! The threads of an active context: one receiver each, one that cuts, one that drives.

use crate::batch::work::Snapshot;
use crate::context::core::Core;
use crate::context::launch;
use crate::context::queue::StopMode;
use crate::context::thread::Thread;
use crate::engine_log::cut::Cut;
use crate::error::{Error, Result};
use crate::flag::Flag;
use crate::ingest::admission::Flow;
use crate::ingest::receiver::{self, Receiver};
use crate::ingest::source_context::SourceContext;
use crate::observe::event::ContextEvent;
use crate::panics::panic_message;
use crate::scheduler::driver::Driver;
use crate::settings::BatchMode;
use crate::thread_role::{Role, RoleGuard};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The threads that run.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    pub(crate) receivers: Vec<Thread>,
    /// With the flag that ends it.
    pub(crate) cutter: Option<(Arc<Flag>, Thread)>,
    pub(crate) driver: Option<Thread>,
    /// Wakes tasks whose source has to wait for its rate.
    pub(crate) alarm: Option<Thread>,
}

/// Opens sources and sinks, replays, and starts the threads.
pub(crate) fn start(core: &Arc<Core>, threads: &mut Threads) -> Result<()> {
    let receivers = open_receivers(core)?;
    let (mut driver, cuts) = launch::driver(core)?;
    match core.settings.mode {
        BatchMode::Manual => {
            core.admission.start(Flow::Manual);
            let _role = RoleGuard::enter(Role::Batch);
            for timed in cuts.iter().flat_map(Cut::batches) {
                core.run(&mut driver, timed, Snapshot::Skip)?;
            }
            *core.driver.lock() = Some(driver);
        }
        BatchMode::Clock => {
            core.admission.start(Flow::Running);
            threads.alarm = start_alarm(core)?;
            cuts.into_iter().for_each(|cut| core.queue.push(cut));
            let on_thread = Arc::clone(core);
            threads.driver = Some(Thread::spawn("driver", move || {
                guarded(&on_thread, || drive(&on_thread, driver));
            })?);
            let off = Arc::new(Flag::sharing(&core.admission.full));
            let (on_thread, its_off) = (Arc::clone(core), Arc::clone(&off));
            // The first interval begins now, not when the thread gets to run.
            core.cutter.lock().begin();
            let cutter = Thread::spawn("cutter", move || {
                guarded(&on_thread, || cut(&on_thread, &its_off));
            })?;
            threads.cutter = Some((off, cutter));
        }
    }
    for (receiver, source) in receivers {
        let name = format!("receiver of \"{}\"", source.name());
        let events = Arc::clone(&core.events);
        threads.receivers.push(Thread::spawn(&name, move || {
            let _role = RoleGuard::enter(Role::Receiver);
            receiver::supervise(receiver, &source, &events);
            events.publish(&ContextEvent::ReceiverStopped {
                source: source.name().to_owned(),
            });
        })?);
    }
    Ok(())
}

/// The thread that wakes tasks, if a source may have to wait for its rate.
fn start_alarm(core: &Arc<Core>) -> Result<Option<Thread>> {
    if core.sources.iter().all(|source| source.rate().is_none()) {
        return Ok(None);
    }
    let on_thread = Arc::clone(core);
    let alarm = Thread::spawn("alarm", move || {
        guarded(&on_thread, || {
            let admission = &on_thread.admission;
            let clock = &*on_thread.settings.clock;
            admission.alarm.run(clock, || admission.wake());
        });
    });
    alarm.map(Some)
}

type Opened = Vec<(Box<dyn Receiver>, SourceContext)>;

fn open_receivers(core: &Core) -> Result<Opened> {
    let mut opened = Vec::new();
    for (info, source) in core.plan.sources.iter().zip(&core.sources) {
        let Some(mut receiver) = info.receiver().and_then(|r| r.lock().take()) else {
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

/// A thread that panics stops the context, so that its waiters return: a bug must not become a
/// hang.
fn guarded(core: &Core, work: impl FnOnce()) {
    let _role = RoleGuard::enter(Role::Batch);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        core.end_with(Error::Worker(panic_message(&*panic)));
    }
}

/// Cuts a batch when its tick is due, and sooner when it is full.
fn cut(core: &Core, off: &Flag) {
    while !off.is_set() {
        let due = core.cutter.lock().next_due();
        let _woken = core.settings.clock.wait(off.notify(), Some(due));
        while !off.is_set() {
            let is_behind = core.queue.has_backlog();
            let cut = core.cutter.lock().poll(is_behind);
            match cut {
                Ok(Some(cut)) => {
                    core.was_cut(&cut);
                    core.queue.push(cut);
                }
                Ok(None) => break,
                Err(error) if error.is_transient() => {
                    core.admission.warn(
                        "no batch could be cut; the next interval tries again",
                        &error,
                    );
                    break;
                }
                Err(error) => {
                    core.end_with(error);
                    return;
                }
            }
        }
    }
}

/// Runs batches until it is to end, or one fails.
fn drive(core: &Core, mut driver: Driver) {
    while let Some(timed) = core.queue.next() {
        if let Err(error) = core.run(&mut driver, timed, Snapshot::Skip) {
            core.end_with(error);
            break;
        }
    }
    let graceful = core.queue.ending() == Some(StopMode::Graceful);
    if graceful && core.status.error().is_none() {
        // Everything cut is processed and the sources are closed: one last cut takes in the rest.
        if let Err(error) = final_batches(core, &mut driver) {
            core.end_with(error);
        }
    }
    driver.checkpointer.finish();
}

/// Cuts and runs what is left, in as many batches as it takes, with a checkpoint after the last
/// one. What outputs feed back meanwhile is left to the next start, as is all the rest if an
/// immediate stop comes in between.
pub(crate) fn final_batches(core: &Core, driver: &mut Driver) -> Result<()> {
    let until = core.wal.end_lsn();
    let mut closing = false;
    while !core.queue.is_cut_short() {
        let cut = core.cut()?;
        let last = cut.last;
        // The engine's own records may have filled the batch after the last one. Then this one is a
        // part, and one more ends its tick: windows and visits of every key are in that.
        let all = last.batch.to >= until;
        let ends = all && (last.tick.is_last_part || closing);
        closing = all;
        for timed in cut.batches() {
            if core.queue.is_cut_short() {
                break;
            }
            let snapshot = match timed == last && ends {
                true => Snapshot::Final,
                false => Snapshot::Skip,
            };
            core.run(driver, timed, snapshot)?;
        }
        if ends {
            break;
        }
    }
    driver.checkpointer.finish();
    core.checkpoints.take_error().map_or(Ok(()), Err)
}
