//! How a context ends: in order, and without waiting for ever in silence.

use crate::context::own_thread::{Inside, Role};
use crate::context::streaming_context::{ContextState, Core, StopMode, StreamingContext};
use crate::context::threads::{Thread, Threads, final_batches, quiesce, spawn};
use crate::error::{Error, Result};
use highwater_wal::disk::Clock;
use std::sync::Arc;
use std::time::Duration;

/// What a stop waits for longer than this is spoken of.
const PATIENCE: Duration = Duration::from_secs(1);
/// And again, as often as this.
const AGAIN: Duration = Duration::from_secs(10);

/// Stops in order: sources, cuts, batches, log; only then the end is told.
pub(crate) fn stop(core: &Arc<Core>, threads: &mut Threads, mode: StopMode) -> Result<()> {
    quiesce(core);
    let clock = &*core.settings.clock;
    end_receivers(clock, threads, core.settings.receiver_stop_timeout);
    if let Some((switch, cutter)) = threads.cutter.take() {
        switch.off();
        join(clock, cutter, "a batch is being cut");
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
    let closed = core.wal.close().map_err(Error::from);
    core.status.stopped(finished.and(closed).err());
    core.status
        .error()
        .map_or(Ok(()), |error| Err(Error::Ended(error)))
}

/// Waits for the receivers, but not for ever: one that sits in a call of a library, or never asks
/// whether it should stop, is left behind. It can store nothing any more.
fn end_receivers(clock: &dyn Clock, threads: &mut Threads, timeout: Duration) {
    let began = clock.now();
    let deadline = began.saturating_add(timeout);
    let names = |waiting: &[Thread]| -> Vec<String> {
        let waiting = waiting.iter().filter(|receiver| !receiver.ended.is_open());
        waiting.map(|receiver| receiver.name.clone()).collect()
    };
    let receivers = std::mem::take(&mut threads.receivers);
    for until in [deadline.min(began.saturating_add(PATIENCE)), deadline] {
        for receiver in &receivers {
            receiver.ended.wait_until(clock, Some(until));
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
        if receiver.ended.is_open() {
            end(receiver);
        } else {
            tracing::error!(
                thread = receiver.name,
                "the stop goes on without a receiver that has not returned within receiver_stop_timeout; its thread is left behind"
            );
        }
    }
}

/// Stops a context from one of its own threads, which the stop would wait for: a thread of its own
/// does it.
pub(crate) fn stop_behind(context: StreamingContext, core: &Core, mode: StopMode) -> Result<()> {
    core.intake.close();
    let stopper = spawn("stopper", move || {
        if let Err(error) = context.stop(mode) {
            tracing::warn!(%error, "stopping, as a callback asked for");
        }
    });
    stopper.map(drop)
}

/// The last handle went away on one of the context's own threads: they end by themselves, nobody
/// waits.
pub(crate) fn abandon(core: &Core, threads: &mut Threads) {
    quiesce(core);
    core.queue.end(StopMode::Immediate);
    if let Some((switch, _)) = threads.cutter.take() {
        switch.off();
    }
    core.status.stopped(None);
}

/// The same for a context in manual mode, whose driver has no thread.
fn stop_manual(core: &Core, mode: StopMode) -> Result<()> {
    let Some(mut driver) = core.driver.lock().take() else {
        return Ok(());
    };
    if mode == StopMode::Graceful && core.status.state() == ContextState::Active {
        let _inside = Inside::enter(Role::Batch);
        final_batches(core, &mut driver)?;
    }
    Ok(())
}

/// Waits for a thread that cannot be left behind, and says so while it takes long.
fn join(clock: &dyn Clock, thread: Thread, doing: &str) {
    thread.ended.wait_reporting(clock, AGAIN, || {
        tracing::warn!(thread = thread.name, doing, "the stop waits");
    });
    end(thread);
}

fn end(thread: Thread) {
    let Thread { name, handle, .. } = thread;
    if handle.join().is_err() {
        tracing::error!(thread = name, "a thread of the streaming context panicked");
    }
}
