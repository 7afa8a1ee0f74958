//! Takes checkpoints behind the batches: writes what was captured, publishes, retires old ones,
//! truncates the log.
//!
//! A checkpoint that fails is an inconvenience, not a failure: the log just stays longer and the
//! next one tries again.

use crate::batch::Batch;
use crate::batch::engine_log::Program;
use crate::error::{Error, Result};
use crate::faults::Faults;
use crate::ingest::producers::Producers;
use crate::plan::graph::{OperatorInfo, Plan, StateSlot};
use crate::plan::site::panic_message;
use crate::state::codec;
use crate::state::table::Block;
use highwater_checkpoint::{Checkpoints, Meta, StateMeta};
use highwater_wal::disk::Clock;
use highwater_wal::{Lsn, RetentionGuard, StreamId, Wal};
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Kind of the blocks that hold a source's producer table.
pub(crate) const PRODUCERS: &str = "producers";

/// How often checkpoints are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointPolicy {
    /// Behind every n-th batch, and sooner if the batches since the last checkpoint are long: see
    /// [`Builder::max_unprocessed_bytes`](crate::Builder::max_unprocessed_bytes).
    Every(NonZeroU64),
}

impl CheckpointPolicy {
    /// A checkpoint behind every `n`-th batch; 0 counts as 1. Spark's rule of thumb is an interval
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

/// What the engine writes into a manifest beside the state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) program: Program,
    pub(crate) batch_interval_ms: u64,
    pub(crate) workers: usize,
    pub(crate) operators: Vec<OperatorInfo>,
    /// Migrations that each state has gone through, by name.
    #[serde(default)]
    pub(crate) migrations: BTreeMap<String, usize>,
    /// How often the program that wrote this says that a state is dropped, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) dropped: BTreeMap<String, usize>,
}

/// Everything that a checkpoint consists of, captured at a batch boundary.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) batch: Batch,
    pub(crate) blocks: Vec<(usize, Block)>,
    pub(crate) producers: BTreeMap<StreamId, Producers>,
}

/// Numbers of the checkpoints of this run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointStats {
    /// Published checkpoints.
    pub published: u64,
    /// Attempts that failed; the log was kept instead.
    pub failed: u64,
    /// Bytes of state files and manifests published.
    pub bytes: u64,
    /// The newest published one: its number, its batch and its LSN.
    pub newest: Option<(u64, u64, Lsn)>,
    /// Why the newest attempt failed, if it did.
    pub last_error: Option<String>,
}

/// Whether checkpoints are written by a thread of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// Behind the batches, one at a time.
    Behind,
    /// Before the next batch: for tests that count every disk operation.
    Inline,
}

/// The writing half: owns the store.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) checkpoints: Checkpoints,
    pub(crate) wal: Arc<Wal>,
    /// Keeps the log from the oldest retained checkpoint on, and says so when the log is at its
    /// bound.
    pub(crate) kept: RetentionGuard,
    pub(crate) plan: Arc<Plan>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metadata: Metadata,
    pub(crate) faults: Faults,
}

impl Writer {
    /// Makes a checkpoint durable, then removes what it made superfluous.
    fn write(&mut self, capture: &Capture, board: &Board) -> Result<()> {
        if self.faults.truncate_before_checkpoint() {
            self.kept.advance(capture.batch.to);
            self.wal.truncate_before(capture.batch.to)?;
        }
        let meta = self.meta(capture);
        let mut writer = self.checkpoints.begin(meta)?;
        let mut load_time = Duration::ZERO;
        for (state, block) in &capture.blocks {
            let Some(slot) = self.plan.states.get(*state) else {
                continue;
            };
            let began = self.clock.now();
            read_back(slot, block)?;
            load_time += self.clock.now().saturating_sub(began);
            writer.add_block(&slot.info.name, block.group, block.entries, &block.bytes)?;
        }
        for (name, stream) in &self.metadata.program.sources {
            if let Some(producers) = capture
                .producers
                .get(&StreamId(*stream))
                .filter(|p| !p.is_empty())
            {
                writer.add_block(name, 0, producers.len() as u64, &producers.encode())?;
            }
        }
        let published = writer.publish()?;
        board.published(published.number, capture.batch, published.bytes, load_time);
        // Only now, behind the publication: the log is cut to what the oldest retained checkpoint
        // needs.
        let retired = self.checkpoints.retire()?;
        if let Some(oldest) = retired.oldest_needed_lsn {
            assert!(
                oldest <= capture.batch.to.get(),
                "a checkpoint needs nothing behind its own cut"
            );
            self.kept.advance(Lsn::new(oldest));
            self.wal.truncate_before(Lsn::new(oldest))?;
        }
        Ok(())
    }

    /// What is true where the checkpoint ends. A batch that is replayed may end before this run's
    /// entry of the program in the log: records after it still need the conversions that this
    /// program was the first to know.
    fn metadata_at(&self, end: Lsn) -> Metadata {
        let mut metadata = self.metadata.clone();
        let streams = self.plan.streams.get().map_or(&[][..], Vec::as_slice);
        for (source, stream) in self.plan.sources.iter().zip(streams) {
            let known = stream
                .upgrades
                .iter()
                .filter(|upgrade| upgrade.below <= end);
            match known.count() {
                0 => drop(metadata.program.migrations.remove(&source.name)),
                count => drop(
                    metadata
                        .program
                        .migrations
                        .insert(source.name.clone(), count),
                ),
            }
        }
        metadata
    }

    fn meta(&self, capture: &Capture) -> Meta {
        let states = self.plan.states.iter().map(|slot| StateMeta {
            name: slot.info.name.clone(),
            kind: slot.info.kind.to_owned(),
            codec: codec::NAME.to_owned(),
            fingerprint: slot.info.types.clone(),
        });
        let sources = self.metadata.program.sources.keys().map(|name| StateMeta {
            name: name.clone(),
            kind: PRODUCERS.to_owned(),
            codec: codec::NAME.to_owned(),
            fingerprint: "producer -> (sequence, LSN)".to_owned(),
        });
        Meta {
            log_id: self.wal.log_id(),
            application: self.metadata.program.application.clone(),
            created_ms: self.clock.wall_ms(),
            batch: highwater_checkpoint::Batch {
                id: capture.batch.id,
                time_ms: capture.batch.time_ms,
            },
            lsn: capture.batch.to.get(),
            metadata: serde_json::to_value(self.metadata_at(capture.batch.to))
                .expect("metadata is plain data"),
            states: states.chain(sources).collect(),
        }
    }
}

/// A checkpoint that cannot be read is none: every key and value is decoded before the log loses
/// what it came from.
fn read_back(slot: &StateSlot, block: &Block) -> Result<()> {
    let message = match slot.types.read_back(&block.bytes) {
        Ok(entries) if entries == block.entries => return Ok(()),
        Ok(entries) => format!(
            "{} entries were written and {entries} are read",
            block.entries
        ),
        Err(message) => message,
    };
    Err(Error::State {
        name: slot.info.name.clone(),
        operator: slot.info.kind.to_owned(),
        message,
    })
}

/// Where driver, writer and observers meet.
#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<BoardState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct BoardState {
    stats: CheckpointStats,
    waiting: Option<Capture>,
    busy: bool,
    stopping: bool,
    /// Why the newest attempt failed, if it did.
    last_error: Option<(u64, Error)>,
    /// How long it took to read the newest checkpoint back.
    load_time: Duration,
}

impl Board {
    fn published(&self, number: u64, batch: Batch, bytes: u64, load_time: Duration) {
        let mut state = self.state.lock();
        state.load_time = load_time;
        state.stats.published += 1;
        state.stats.bytes += bytes;
        state.stats.newest = Some((number, batch.id, batch.to));
    }

    pub(crate) fn stats(&self) -> CheckpointStats {
        let state = self.state.lock();
        let last_error = state
            .last_error
            .as_ref()
            .map(|(_, error)| error.to_string());
        CheckpointStats {
            last_error,
            ..state.stats.clone()
        }
    }

    /// Why the newest attempt failed, if it did.
    pub(crate) fn take_error(&self) -> Option<Error> {
        self.state.lock().last_error.take().map(|(_, error)| error)
    }

    /// Notes the checkpoint from which this run was recovered (number, batch, LSN), and how long
    /// that took.
    pub(crate) fn recovered(&self, checkpoint: (u64, u64, Lsn), loaded_in: Duration) {
        let mut state = self.state.lock();
        state.stats.newest = Some(checkpoint);
        state.load_time = loaded_in;
    }

    /// How long it takes to load the newest checkpoint, as far as it was seen.
    pub(crate) fn load_time(&self) -> Duration {
        self.state.lock().load_time
    }
}

/// When checkpoints are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) policy: CheckpointPolicy,
    pub(crate) writing: Writing,
    /// The batch behind which the last capture was taken, and its LSN.
    pub(crate) last: (u64, Lsn),
    /// Log bytes behind the last capture that make a checkpoint due, whatever the policy says.
    pub(crate) max_lineage: u64,
}

/// The driver's half.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    schedule: Schedule,
    board: Arc<Board>,
    writing: Running,
}

#[derive(Debug)]
enum Running {
    Inline(Box<Writer>),
    Behind(Option<JoinHandle<()>>),
}

impl Checkpointer {
    pub(crate) fn start(
        schedule: Schedule,
        writer: Writer,
        board: Arc<Board>,
    ) -> std::io::Result<Self> {
        let writing = match schedule.writing {
            Writing::Inline => Running::Inline(Box::new(writer)),
            Writing::Behind => {
                let on_thread = Arc::clone(&board);
                let name = "highwater-checkpoint".to_owned();
                let thread = std::thread::Builder::new()
                    .name(name)
                    .spawn(move || write_all(writer, &on_thread))?;
                Running::Behind(Some(thread))
            }
        };
        Ok(Self {
            schedule,
            board,
            writing,
        })
    }

    /// Whether a checkpoint should be taken behind `batch`. Few large batches count as many small
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
        due && !self.board.state.lock().busy
    }

    /// Hands over a capture.
    pub(crate) fn take(&mut self, capture: Capture) -> Result<()> {
        self.schedule.last = (capture.batch.id, capture.batch.to);
        match &mut self.writing {
            Running::Inline(writer) => write(writer, &capture, &self.board),
            Running::Behind(_) => {
                let mut state = self.board.state.lock();
                while state.busy {
                    self.board.changed.wait(&mut state); // only the final checkpoint of a stop comes while one is written
                }
                state.busy = true;
                state.waiting = Some(capture);
                self.board.changed.notify_all();
            }
        }
        Ok(())
    }

    /// Waits until everything handed over is written, and ends.
    pub(crate) fn finish(&mut self) {
        self.board.state.lock().stopping = true;
        self.board.changed.notify_all();
        if let Running::Behind(thread) = &mut self.writing
            && let Some(thread) = thread.take()
            && thread.join().is_err()
        {
            tracing::error!(
                "the checkpoint thread panicked; the log keeps what it would have covered"
            );
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.finish();
    }
}

fn write_all(mut writer: Writer, board: &Board) {
    let mut state = board.state.lock();
    loop {
        if let Some(capture) = state.waiting.take() {
            drop(state);
            write(&mut writer, &capture, board);
            state = board.state.lock();
            state.busy = false;
            board.changed.notify_all();
        } else if state.stopping {
            return;
        } else {
            board.changed.wait(&mut state);
        }
    }
}

fn write(writer: &mut Writer, capture: &Capture, board: &Board) {
    let batch = capture.batch.id;
    let outcome = catch_unwind(AssertUnwindSafe(|| writer.write(capture, board)))
        .unwrap_or_else(|panic| Err(Error::Worker(panic_message(&*panic))));
    let mut state = board.state.lock();
    state.last_error = outcome.err().map(|error| (batch, error));
    if let Some((batch, error)) = &state.last_error {
        tracing::warn!(%error, batch, "checkpoint failed: nothing is lost, the log is kept and the next one tries again");
        state.stats.failed += 1;
    }
}
