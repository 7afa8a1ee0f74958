//! When a checkpoint is taken, and the thread that writes it.
//!
//! A checkpoint that fails is an inconvenience, not a failure: the log stays longer and the next
//! one tries again.

use crate::batch::Batch;
use crate::checkpointing::writer::{Capture, Writer};
use crate::error::{Error, Result};
use crate::observe::checkpoints::CheckpointStatus;
use crate::observe::event::ContextEvent;
use crate::panics::panic_message;
use highwater_wal::Lsn;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// How often checkpoints are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointPolicy {
    /// After every n-th batch, and sooner if the batches since the last checkpoint are long: see
    /// [`Builder::max_unprocessed_bytes`](crate::Builder::max_unprocessed_bytes).
    Every(NonZeroU64),
}

impl CheckpointPolicy {
    /// A checkpoint after every `n`-th batch; 0 counts as 1. Spark's rule of thumb is an interval
    /// of 5 to 10 batches, at least 10 seconds.
    #[must_use]
    pub fn every_batches(n: u64) -> Self {
        Self::Every(NonZeroU64::new(n).unwrap_or(NonZeroU64::MIN))
    }
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self::every_batches(10)
    }
}

/// When checkpoints are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) policy: CheckpointPolicy,
    /// The batch after which the last capture was taken, and its LSN.
    pub(crate) last: (u64, Lsn),
    /// Log bytes after the last capture that make a checkpoint due, whatever the policy is.
    pub(crate) max_lineage: u64,
}

/// The driver's half.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    schedule: Schedule,
    status: Arc<CheckpointStatus>,
    writer: WriterHandle,
    /// Captures that were handed to the writer.
    handed_over: u64,
}

#[derive(Debug)]
enum WriterHandle {
    Inline(Box<Writer>),
    /// The channel holds nothing: a capture is handed over when the one before is written.
    Thread(Option<(SyncSender<Capture>, JoinHandle<()>)>),
}

impl Checkpointer {
    /// Checkpoints are written before the next batch: for tests that count every disk operation.
    pub(crate) fn inline(
        schedule: Schedule,
        writer: Writer,
        status: Arc<CheckpointStatus>,
    ) -> Self {
        Self {
            schedule,
            status,
            writer: WriterHandle::Inline(Box::new(writer)),
            handed_over: 0,
        }
    }

    /// Checkpoints are written by a thread of their own while batches run, one at a time.
    pub(crate) fn in_background(
        schedule: Schedule,
        mut writer: Writer,
        status: Arc<CheckpointStatus>,
    ) -> Result<Self> {
        let on_thread = Arc::clone(&status);
        let (captures, receiver) = sync_channel(0);
        let thread = std::thread::Builder::new()
            .name("highwater-checkpoint".to_owned())
            .spawn(move || {
                receiver
                    .iter()
                    .for_each(|capture| write(&mut writer, &capture, &on_thread));
            });
        let thread = thread
            .map_err(|e| Error::Worker(format!("the checkpoint thread could not start: {e}")))?;
        Ok(Self {
            schedule,
            status,
            writer: WriterHandle::Thread(Some((captures, thread))),
            handed_over: 0,
        })
    }

    /// Whether a checkpoint should be taken after `batch`. Few large batches count as many small
    /// ones: otherwise a program that is killed before its n-th batch would replay ever more (F12).
    /// Not while one is being written: batches never wait for a slow store, and captures do not
    /// pile up in memory.
    pub(crate) fn is_due(&self, batch: &Batch) -> bool {
        let Schedule {
            policy: CheckpointPolicy::Every(n),
            last: (last, lsn),
            max_lineage,
            ..
        } = self.schedule;
        let due =
            batch.id.saturating_sub(last) >= n.get() || batch.to.bytes_since(lsn) >= max_lineage;
        due && self.status.attempts() == self.handed_over
    }

    /// The batch after which the newest published checkpoint was taken.
    pub(crate) fn published(&self) -> Option<u64> {
        self.status.stats().newest.map(|(_, batch, _)| batch)
    }

    /// Hands over a capture. Waits if one is being written, which only the final checkpoint of a
    /// stop may meet.
    pub(crate) fn take(&mut self, capture: Capture) -> Result<()> {
        self.schedule.last = (capture.batch.id, capture.batch.to);
        self.handed_over += 1;
        match &mut self.writer {
            WriterHandle::Inline(writer) => write(writer, &capture, &self.status),
            WriterHandle::Thread(thread) => {
                let sent = thread.as_ref().map(|(captures, _)| captures.send(capture));
                if !matches!(sent, Some(Ok(()))) {
                    return Err(Error::Worker("the checkpoint thread has ended".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Waits until everything handed over is written, and ends.
    pub(crate) fn finish(&mut self) {
        if let WriterHandle::Thread(thread) = &mut self.writer
            && let Some((captures, thread)) = thread.take()
        {
            drop(captures);
            if thread.join().is_err() {
                tracing::error!(
                    "the checkpoint thread panicked; the log keeps what it would have covered"
                );
            }
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.finish();
    }
}

fn write(writer: &mut Writer, capture: &Capture, status: &CheckpointStatus) {
    let batch = capture.batch;
    let written = catch_unwind(AssertUnwindSafe(|| writer.write(capture)))
        .unwrap_or_else(|panic| Err(Error::Worker(panic_message(&*panic))));
    if let Err(error) = &written {
        tracing::warn!(%error, batch = batch.id, "checkpoint failed: nothing is lost, the log is kept and the next one tries again");
        let message = error.to_string();
        writer
            .events
            .publish(&ContextEvent::CheckpointFailed { batch, message });
    }
    status.ended(written.err());
}
