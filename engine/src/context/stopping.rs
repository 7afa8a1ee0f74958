//! How a context ends: in order, and without waiting for ever in silence.

use crate::context::core::Core;
use crate::context::queue::StopMode;
use crate::context::thread::Thread;
use crate::context::threads::{Threads, final_batches};
use crate::error::{Error, Result};
use crate::observe::event::ContextState;
use crate::thread_role::{Role, RoleGuard};
use highwater_wal::disk::Clock;
use std::sync::Arc;
use std::time::Duration;

/// A stop that waits longer than this logs what it waits for.
const PATIENCE: Duration = Duration::from_secs(1);

/// And again, as often as this.
const AGAIN: Duration = Duration::from_secs(10);

/// Stops in order: sources, cuts, batches, log. Only then the waiters learn of the end.
pub(crate) fn stop(core: &Arc<Core>, threads: &mut Threads, mode: StopMode) -> Result<()> {
    core.quiesce();
    let clock = &*core.settings.clock;
    end_receivers(clock, threads, core.settings.receiver_stop_timeout);
    if let Some((off, cutter)) = threads.cutter.take() {
        off.set();
        join(clock, cutter, "a batch is being cut");
    }
    if let Some(alarm) = threads.alarm.take() {
        join(clock, alarm, "tasks that wait for their rate are told");
    }
    core.queue.end(mode);
    if let Some(driver) = threads.driver.take() {
        join(
            clock,
            driver,
            "a batch runs, or a checkpoint is being written",
        );
    }
    let finished = stop_manual(core, mode);
    let desk = core.desk.lock().take();
    let finished = finished.and(desk.map_or(Ok(()), |desk| desk.close()));
    let closed = core.wal.close().map_err(Error::from);
    core.stopped(finished.and(closed).err().map(Arc::new));
    core.status
        .error()
        .map_or(Ok(()), |error| Err(Error::Ended(error)))
}

/// Waits for the receivers, but not for ever. One that blocks in a library, or never asks whether
/// it should stop, is abandoned. It can store nothing any more.
fn end_receivers(clock: &dyn Clock, threads: &mut Threads, timeout: Duration) {
    let began = clock.now();
    let deadline = began.saturating_add(timeout);
    let names = |waiting: &[Thread]| -> Vec<String> {
        let waiting = waiting.iter().filter(|receiver| !receiver.has_ended());
        waiting.map(|receiver| receiver.name().to_owned()).collect()
    };
    let receivers = std::mem::take(&mut threads.receivers);
    for until in [deadline.min(began.saturating_add(PATIENCE)), deadline] {
        for receiver in &receivers {
            receiver.wait_until(clock, Some(until));
        }
        let waiting = names(&receivers);
        if !waiting.is_empty() && until < deadline {
            tracing::warn!(
                ?waiting,
                timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                "the stop waits for receivers that do not return: they should look at `is_stopping`, or register `on_stop`"
            );
        }
    }
    for receiver in receivers {
        if receiver.has_ended() {
            receiver.join();
        } else {
            tracing::error!(
                thread = receiver.name(),
                "the stop goes on without a receiver that has not returned within receiver_stop_timeout; its thread is abandoned"
            );
        }
    }
}

/// The last handle went away on one of the context's own threads. They end by themselves, and
/// nothing waits for them.
pub(crate) fn abandon(core: &Core, threads: &mut Threads) {
    core.quiesce();
    core.queue.end(StopMode::Immediate);
    if let Some((off, _)) = threads.cutter.take() {
        off.set();
    }
    core.stopped(None);
}

/// The same for a context in manual mode, whose driver has no thread.
fn stop_manual(core: &Core, mode: StopMode) -> Result<()> {
    let Some(mut driver) = core.driver.lock().take() else {
        return Ok(());
    };
    if mode == StopMode::Graceful && core.status.state() == ContextState::Active {
        let _role = RoleGuard::enter(Role::Batch);
        final_batches(core, &mut driver)?;
    }
    Ok(())
}

/// Waits for a thread that cannot be abandoned, and logs a warning while it takes long.
fn join(clock: &dyn Clock, thread: Thread, doing: &str) {
    thread.wait_reporting(clock, AGAIN, || {
        tracing::warn!(thread = thread.name(), doing, "the stop waits");
    });
    thread.join();
}
