//! When a checkpoint is taken, and the thread that writes it.
//!
//! A checkpoint that fails is an inconvenience, not a failure: the log stays longer and the next
//! one tries again.

use crate::batch::Batch;
use crate::checkpointing::capture::{Capture, CaptureSink, Captured, CopyMemory, Whole};
use crate::checkpointing::target::RecoveryTarget;
use crate::checkpointing::writer::Writer;
use crate::error::{Error, Result};
use crate::observe::checkpoints::{CheckpointStatus, FailedInARow};
use crate::observe::event::ContextEvent;
use crate::panics::panic_message;
use highwater_checkpoint::CheckpointError;
use highwater_wal::Lsn;
use highwater_wal::disk::Clock;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// After the first of several failures the next attempt waits for so long; twice as long after each
/// one more.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// When checkpoints are taken.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    /// After so many batches; with a target, as long as that does not decide.
    pub(crate) every: u64,
    pub(crate) target: Option<RecoveryTarget>,
    pub(crate) clock: Arc<dyn Clock>,
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
    /// Which states the next one has as a whole ...
    whole: Whole,
    /// ... until one is published that comes after so many others.
    whole_since: u64,
    memory: Arc<CopyMemory>,
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
        (whole, memory): (Whole, Arc<CopyMemory>),
        writer: Writer,
        status: Arc<CheckpointStatus>,
    ) -> Self {
        Self {
            schedule,
            status,
            writer: WriterHandle::Inline(Box::new(writer)),
            handed_over: 0,
            whole,
            whole_since: 0,
            memory,
        }
    }

    /// Checkpoints are written by a thread of their own while batches run, one at a time.
    pub(crate) fn in_background(
        schedule: Schedule,
        (whole, memory): (Whole, Arc<CopyMemory>),
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
            whole,
            whole_since: 0,
            memory,
        })
    }

    /// Whether a checkpoint should be taken after `batch`. Few large batches count as many small
    /// ones: otherwise a program that is killed before its n-th batch would replay ever more (F12).
    /// After a failure the next attempt comes sooner, but not at once.
    /// Not while one is being written: batches never wait for a slow store, and captures do not
    /// pile up in memory.
    pub(crate) fn is_due(&self, batch: &Batch) -> bool {
        let (_, lsn) = self.schedule.last;
        let ended = self.status.ended_attempts();
        if ended.all != self.handed_over {
            return false;
        }
        let has_failed = ended.failed_in_a_row.is_some();
        self.is_scheduled(batch, has_failed)
            || batch.to.bytes_since(lsn) >= self.schedule.max_lineage
            || self.status.is_wanted()
            || ended
                .failed_in_a_row
                .is_some_and(|failed| self.waited(failed))
    }

    /// Whether the policy says so. A target that is missed because checkpoints fail would try after
    /// every batch: then the default decides.
    fn is_scheduled(&self, batch: &Batch, has_failed: bool) -> bool {
        let target = self.schedule.target.as_ref().filter(|_| !has_failed);
        let decided = target.and_then(|target| target.is_due(batch, &self.status));
        let (last, _) = self.schedule.last;
        decided.unwrap_or_else(|| batch.id.saturating_sub(last) >= self.schedule.every)
    }

    /// Whether it is time to try again.
    fn waited(&self, FailedInARow { count, at }: FailedInARow) -> bool {
        let wait = FIRST_WAIT.saturating_mul(1 << count.saturating_sub(1).min(16));
        self.schedule.clock.now() >= at.saturating_add(wait.min(LONGEST_WAIT))
    }

    /// # Errors
    /// If another engine has taken over the store: this one must stop.
    pub(crate) fn check_not_fenced(&self) -> Result<()> {
        match self.status.fenced() {
            Some((number, writer)) => Err(CheckpointError::Fenced { number, writer }.into()),
            None => Ok(()),
        }
    }

    /// The workers do not know what has changed since the newest checkpoint: all that begin from
    /// now on have everything, until one of them is published.
    pub(crate) fn write_everything(&mut self) {
        (self.whole, self.whole_since) = (Whole::All, self.handed_over);
    }

    /// What the next checkpoint has as a whole, and both ends of the way that the copies take.
    pub(crate) fn ask(&mut self) -> (Whole, CaptureSink, Receiver<Captured>) {
        let ended = self.status.ended_attempts();
        if ended.published > self.whole_since {
            self.whole = Whole::none();
        }
        if ended.cannot_continue > self.whole_since.max(ended.published) {
            self.write_everything();
        }
        let (messages, copies) = channel();
        let memory = Arc::clone(&self.memory);
        let status = Arc::clone(&self.status);
        let sink = CaptureSink {
            messages,
            memory,
            status,
        };
        (self.whole.clone(), sink, copies)
    }

    /// A batch could have been run for so long.
    pub(crate) fn paused(&self, time: Duration) {
        self.status.paused(time);
    }

    /// The memory that copies take.
    pub(crate) fn memory(&self) -> Arc<CopyMemory> {
        Arc::clone(&self.memory)
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
        self.status.captured(self.handed_over);
        match &mut self.writer {
            WriterHandle::Inline(writer) => write(writer, &capture, &self.status),
            WriterHandle::Thread(thread) => {
                let thread = thread.as_ref();
                let sent = thread.is_some_and(|(captures, _)| captures.send(capture).is_ok());
                if !sent {
                    return Err(Error::Worker("the checkpoint thread has ended".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Waits until what was handed over last is written, or has failed. Whether it has failed
    /// because the checkpoint that it was to build upon is lost: another attempt has everything.
    pub(crate) fn lost_its_parent(&self) -> bool {
        self.status.await_ended(self.handed_over);
        self.status.ended_attempts().cannot_continue == self.handed_over
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
    let now = writer.clock.now();
    status.ended(written.err(), writer.can_continue(), now);
}
