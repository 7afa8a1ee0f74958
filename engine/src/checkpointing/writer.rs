//! Writes what was captured, publishes it, retires old checkpoints, truncates the log.

use crate::batch::Batch;
use crate::checkpointing::metadata::{Metadata, PRODUCERS};
use crate::checkpointing::retained::Retained;
use crate::codec::message_pack;
use crate::engine_log::ledger::Settled;
use crate::error::{Error, Result};
use crate::faults::Faults;
use crate::observe::event::{ContextEvent, Events};
use crate::plan::program::{Plan, StateInfo};
use crate::state::table::block::Block;
use highwater_checkpoint::{Checkpoints, Meta, StateMeta};
use highwater_wal::disk::Clock;
use highwater_wal::{Lsn, RetentionGuard, StreamId, Wal};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Everything that a checkpoint consists of, captured at a batch boundary.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) batch: Batch,
    pub(crate) blocks: Vec<(usize, Block)>,
    /// Where windows are aligned.
    pub(crate) zero_ms: u64,
    /// What the end of the batch leaves behind of each source.
    pub(crate) sources: BTreeMap<StreamId, Settled>,
}

/// The writing half: owns the store.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) checkpoints: Checkpoints,
    pub(crate) wal: Arc<Wal>,
    /// Keeps the log from the oldest retained checkpoint on, and explains that when the log is at
    /// its bound.
    pub(crate) kept: RetentionGuard,
    /// Told which checkpoints there are.
    pub(crate) retained: Arc<Retained>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metadata: Metadata,
    pub(crate) events: Arc<Events>,
    pub(crate) faults: Faults,
}

impl Writer {
    /// Makes a checkpoint durable, then removes what is no longer needed.
    pub(crate) fn write(&mut self, capture: &Capture) -> Result<()> {
        if self.faults.truncate_before_checkpoint() {
            self.kept.advance(capture.batch.to);
            self.wal.truncate_before(capture.batch.to)?;
        }
        let (began, batch) = (self.clock.now(), capture.batch);
        self.events
            .publish(&ContextEvent::CheckpointStarted { batch });
        let meta = self.meta(capture);
        let mut writer = self.checkpoints.begin(meta)?;
        let mut load_time = Duration::ZERO;
        for (state, block) in &capture.blocks {
            let Some(slot) = self.plan.states.get(*state) else {
                continue;
            };
            let read = self.clock.now();
            read_back(slot, block)?;
            load_time += self.clock.now().saturating_sub(read);
            writer.add_block(&slot.name, block.group, block.entries, &block.bytes)?;
        }
        for (name, stream) in &self.metadata.program.sources {
            let settled = capture.sources.get(&StreamId(*stream));
            if let Some(producers) = settled.map(|s| &s.producers).filter(|p| !p.is_empty()) {
                writer.add_block(name, 0, producers.len() as u64, &producers.encode())?;
            }
        }
        let published = writer.publish()?;
        self.events.publish(&ContextEvent::CheckpointCompleted {
            number: published.number,
            batch: capture.batch,
            size_bytes: published.bytes,
            took: self.clock.now().saturating_sub(began),
            load_time,
        });
        // Only now, after the publication, the log is truncated to what the oldest retained
        // checkpoint needs.
        let retired = self.checkpoints.retire();
        self.retained.set(self.checkpoints.all());
        let retired = retired?;
        if let Some(oldest) = retired.oldest_needed_lsn {
            assert!(
                oldest <= capture.batch.to.get(),
                "a checkpoint needs nothing after its own cut"
            );
            self.kept.advance(Lsn::new(oldest));
            let before = Lsn::new(oldest);
            self.wal.truncate_before(before)?;
            self.events.publish(&ContextEvent::LogTruncated { before });
        }
        Ok(())
    }

    /// What is true where the checkpoint ends. A batch that is replayed may end before this run's
    /// program entry in the log. Records between the two still need the conversions that this
    /// program was the first to have.
    fn metadata_at(&self, capture: &Capture) -> Metadata {
        let end = capture.batch.to;
        let mut metadata = self.metadata.clone();
        metadata.zero_ms = Some(capture.zero_ms);
        let sources = metadata.program.sources.iter();
        let numbers = sources.filter_map(|(name, stream)| {
            let settled = capture.sources.get(&StreamId(*stream))?;
            Some((name.clone(), settled.next_number)).filter(|(_, next)| *next > 0)
        });
        let numbers: BTreeMap<String, u64> = numbers.collect();
        metadata.numbers.extend(numbers);
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
            name: slot.name.clone(),
            kind: slot.kind.to_owned(),
            codec: message_pack::NAME.to_owned(),
            fingerprint: slot.type_names.clone(),
        });
        let sources = self.metadata.program.sources.keys().map(|name| StateMeta {
            name: name.clone(),
            kind: PRODUCERS.to_owned(),
            codec: message_pack::NAME.to_owned(),
            fingerprint: "producer -> (epoch, sequence, LSN)".to_owned(),
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
            metadata: serde_json::to_value(self.metadata_at(capture))
                .expect("metadata is plain data"),
            states: states.chain(sources).collect(),
        }
    }
}

/// A checkpoint that cannot be read is worthless: every key and value is decoded before the log
/// loses what it came from.
fn read_back(slot: &StateInfo, block: &Block) -> Result<()> {
    let message = match slot.types.read_back(&block.bytes) {
        Ok(entries) if entries == block.entries => return Ok(()),
        Ok(entries) => format!(
            "{} entries were written and {entries} are read",
            block.entries
        ),
        Err(message) => message,
    };
    Err(Error::State {
        name: slot.name.clone(),
        operator: slot.kind.to_owned(),
        message,
    })
}
