//! The driver: cuts batches, runs them, commits their outputs, takes checkpoints. One thread, in
//! order.
//!
//! The order of durable steps of a batch, which every crash argument in `docs/guarantees.md` rests
//! on: cut durable -> run -> every output staged -> `committed` durable -> every output published
//! -> checkpoint may be taken -> checkpoint published -> log truncated to what the oldest retained
//! checkpoint needs.

use crate::batch::Batch;
use crate::batch::chunk::{Order, Parcel};
use crate::batch::work::{Purpose, Snapshot, Work};
use crate::checkpointing::checkpointer::Checkpointer;
use crate::checkpointing::writer::Capture;
use crate::engine_log::entry::{self, Entry};
use crate::engine_log::producers::Producers;
use crate::engine_log::replay;
use crate::error::{Error, Result};
use crate::exec::completed::Completed;
use crate::exec::executor::Executor;
use crate::faults::Faults;
use crate::ingest::admission::Intake;
use crate::plan::program::Plan;
use crate::sink::output::Guarantee;
use crate::sink::patience::Patience;
use highwater_wal::{Lsn, StreamId, Wal};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Runs batches.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) dir: PathBuf,
    pub(crate) plan: Arc<Plan>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) executor: Executor,
    pub(crate) checkpointer: Checkpointer,
    /// Producers' marks up to the last completed batch.
    pub(crate) producers: BTreeMap<StreamId, Producers>,
    /// Batches up to this one were committed before the start.
    pub(crate) committed: Option<u64>,
    /// For a full disk, unless batches are run by hand.
    pub(crate) patience: Patience,
    pub(crate) faults: Faults,
    /// Size of the pieces into which a batch is split, in log bytes.
    pub(crate) piece_bytes: u64,
}

/// What running a batch cost and did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchDone {
    pub(crate) batch: Batch,
    pub(crate) purpose: Purpose,
    pub(crate) took: Duration,
}

impl Driver {
    fn wal(&self) -> &Wal {
        &self.intake.wal
    }

    /// Runs a batch from its cut to its commit, and a checkpoint behind it if one is due or
    /// `snapshot` asks for it.
    pub(crate) fn run(&mut self, batch: Batch, snapshot: Snapshot) -> Result<BatchDone> {
        let started = self.intake.clock.now();
        let committed = self.committed.is_some_and(|newest| batch.id <= newest);
        let purpose = if committed {
            Purpose::Rebuild
        } else {
            Purpose::Run
        };
        let due = self.checkpointer.is_due(&batch);
        let snapshot = if due || snapshot == Snapshot::Take {
            Snapshot::Take
        } else {
            Snapshot::Skip
        };
        let input = self.read(batch)?;
        let completed = self.executor.run(
            Work {
                batch,
                purpose,
                snapshot,
            },
            input,
        )?;
        if let Some(failure) = completed.failure {
            return Err(failure.into());
        }
        let Completed {
            outputs, blocks, ..
        } = completed;
        if purpose == Purpose::Run {
            self.commit(batch, outputs)?;
        }
        self.intake.processed(batch.to);
        let took = self.intake.clock.now().saturating_sub(started);
        if snapshot == Snapshot::Take {
            let producers = self.producers.clone();
            self.checkpointer.take(Capture {
                batch,
                blocks,
                producers,
            })?;
        }
        Ok(BatchDone {
            batch,
            purpose,
            took,
        })
    }

    /// The batch's input in pieces, each with its place.
    fn read(&mut self, batch: Batch) -> Result<Vec<Parcel>> {
        let chunks = self
            .intake
            .wal
            .chunks(batch.from, batch.to, self.piece_bytes)?;
        for chunk in &chunks {
            for frame in chunk.unchecked_frames() {
                let frame = frame?;
                let lsn = frame.lsn;
                replay::note_marks(&frame, &mut self.producers).map_err(|what| Error::Journal {
                    dir: self.dir.clone(),
                    lsn,
                    what,
                })?;
            }
        }
        Ok(chunks
            .into_iter()
            .zip(0..)
            .map(|(chunk, number)| Parcel::new(Order::Piece(number), 0, chunk))
            .collect())
    }

    fn commit(&self, batch: Batch, mut outputs: BTreeMap<usize, Vec<Parcel>>) -> Result<()> {
        for (index, output) in self.plan.outputs.iter().enumerate() {
            let parcels = outputs.remove(&index).unwrap_or_default();
            output
                .sink
                .stage(&self.plan.operator_name(output.operator), batch, parcels)?;
        }
        if self.faults.publish_before_commit() {
            self.publish(batch)?;
        }
        let committed = self.append_committed(batch)?;
        // Outputs that promise no more than "at least once" do not need the flush: the next cut
        // brings it.
        if self
            .plan
            .outputs
            .iter()
            .any(|o| o.sink.guarantee == Guarantee::ExactlyOnce)
        {
            self.wal().sync_to(committed)?;
        }
        self.publish(batch)
    }

    /// The outputs are staged, so a full disk is waited out (P8) unless the context is stopping or
    /// run by hand.
    fn append_committed(&self, batch: Batch) -> Result<Lsn> {
        loop {
            let appended = entry::append(self.wal(), &Entry::Committed { batch: batch.id });
            match appended.map_err(Error::from) {
                Err(error) if error.is_transient() && self.patience.rest(&error) => {}
                other => return other,
            }
        }
    }

    fn publish(&self, batch: Batch) -> Result<()> {
        let mut outputs = self.plan.outputs.iter();
        outputs.try_for_each(|o| o.sink.publish(&self.plan.operator_name(o.operator), batch))
    }
}
