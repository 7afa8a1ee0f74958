//! One worker thread: takes commands, steps the dataflow, reports progress, and parks when there is
//! nothing to do.

use crate::batch::chunk::Chunk;
use crate::exec::dataflow::{self, Running};
use crate::exec::shared::Shared;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use timely::worker::Worker;

/// What the driver asks of a worker.
#[derive(Debug)]
pub(super) enum Command {
    /// Process `input` as part of `epoch`, after which nothing more comes for it.
    Batch { epoch: u64, input: Vec<Chunk> },
}

/// Runs until the driver stops the executor or goes away.
pub(super) fn run(worker: &mut Worker, shared: &Arc<Shared>, commands: &Receiver<Command>) {
    let mut running = dataflow::build(worker, shared);
    shared.register(worker.index());
    loop {
        match commands.try_recv() {
            Ok(Command::Batch { epoch, mut input }) => {
                running.input.send_batch(&mut input);
                running.input.advance_to(epoch + 1);
                running.input.flush();
                continue;
            }
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) if shared.stopping() => break,
            Err(TryRecvError::Empty) => {}
        }
        // Commands come with an unpark, whose token makes the next park return at once: none is
        // missed.
        worker.step_or_park(None);
        report(&running, shared);
    }
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
}

fn report(running: &Running, shared: &Shared) {
    let done = running.done.with_frontier(|f| f.iter().min().copied());
    let acked = running.acked.with_frontier(|f| f.iter().min().copied());
    shared.advance(done.unwrap_or(u64::MAX), acked.unwrap_or(u64::MAX));
}
