//! Writes what was captured, publishes it, retires old checkpoints, truncates the log.

use crate::checkpointing::capture::{Capture, Whole};
use crate::checkpointing::copies::{Copies, ReadBack, not_written};
use crate::checkpointing::entries::KnownEntries;
use crate::checkpointing::metadata::{Costs, Metadata, PRODUCERS};
use crate::checkpointing::retained::Retained;
use crate::codec::message_pack;
use crate::error::Result;
use crate::faults::Faults;
use crate::observe::event::{ContextEvent, Events};
use crate::observe::recovering::lineage::LineageReader;
use crate::plan::program::Plan;
use highwater_checkpoint::{Checkpoints, Meta, Published, StateMeta};
use highwater_wal::disk::Clock;
use highwater_wal::{Lsn, RetentionGuard, StreamId, Wal};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// What was measured of this run.
    pub(crate) lineage: Arc<LineageReader>,
    pub(crate) faults: Faults,
    /// The checkpoint that the next one continues.
    pub(crate) parent: Option<u64>,
    /// What it has of the states that the driver keeps.
    pub(crate) known: KnownEntries,
    /// How long it takes to read keys back, as seen last.
    pub(crate) read_back: ReadBack,
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
        let published = self.publish(capture)?;
        self.parent = Some(published.number);
        self.known.published();
        let keys = self.checkpoints.manifests().last();
        let keys = keys.map_or(0, |m| m.states.iter().map(|s| s.entries).sum());
        self.events.publish(&ContextEvent::CheckpointCompleted {
            number: published.number,
            batch: capture.batch,
            size_bytes: published.bytes,
            total_bytes: published.total_bytes,
            total_files: published.total_files,
            memory_bytes: capture.memory.take_peak(),
            took: self.clock.now().saturating_sub(began),
            load_time: self.read_back.of(keys),
        });
        // Only now, after the publication, the log is truncated to what the oldest retained
        // checkpoint needs.
        if self.retained.is_held() {
            self.retained.set(self.checkpoints.all());
            return Ok(());
        }
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

    /// Writes what was captured, as it comes from the workers, and makes a checkpoint of it.
    fn publish(&mut self, capture: &Capture) -> Result<Published> {
        if capture.whole == Whole::All {
            self.known.forget();
        }
        self.known.begin();
        let meta = self.meta(capture);
        let anew: BTreeSet<String> = (meta.states.iter())
            .filter(|state| state.anew || meta.parent.is_none())
            .map(|state| state.name.clone())
            .collect();
        let mut writer = self.checkpoints.begin(meta)?;
        let copies = Copies {
            plan: &self.plan,
            clock: &*self.clock,
            capture,
        };
        let read_back = copies.write(&mut writer)?;
        if read_back.keys > 0 {
            self.read_back = read_back;
        }
        for (name, stream) in &self.metadata.program.sources {
            let settled = capture.sources.get(&StreamId(*stream));
            let entries = settled.map(|settled| settled.entries());
            let entries = entries.unwrap_or_default();
            let block = self.known.block(name, &entries, anew.contains(name));
            let block = block.map_err(|message| not_written(name, PRODUCERS, message))?;
            writer.add(name, 0, block.into())?;
            writer.set_keys(name, entries.len() as u64)?;
        }
        for (state, entries) in &capture.entries {
            let Some(slot) = self.plan.states.get(*state) else {
                continue;
            };
            let block = self
                .known
                .block(&slot.name, entries, anew.contains(&slot.name));
            let block = block.map_err(|message| not_written(&slot.name, slot.kind, message))?;
            copies.check(*state, slot, &block, &mut ReadBack::default())?;
            writer.add(&slot.name, 0, block.into())?;
            writer.set_keys(&slot.name, entries.len() as u64)?;
        }
        Ok(writer.publish()?)
    }

    /// Whether the next checkpoint can build upon the last one. If not, it has everything.
    pub(crate) fn can_continue(&self) -> bool {
        self.parent
            .is_some_and(|parent| self.checkpoints.can_continue(parent))
    }

    /// What is true where the checkpoint ends. A batch that is replayed may end before this run's
    /// program entry in the log. Records between the two still need the conversions that this
    /// program was the first to have.
    fn metadata_at(&self, capture: &Capture) -> Metadata {
        let end = capture.batch.to;
        let mut metadata = self.metadata.clone();
        metadata.zero_ms = Some(capture.tick.zero_ms);
        metadata.part = Some(capture.tick.into());
        metadata.incomplete = capture.incomplete.clone();
        metadata.stopped = capture.is_final;
        metadata.costs = self.lineage.pace.pace().map(|pace| Costs {
            load_ms: whole(self.lineage.checkpoints.load_time().as_secs_f64() * 1e3),
            batch_us: whole(pace.batch_s * 1e6),
            byte_ps: whole(pace.byte_s * 1e12),
        });
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
        let driver_keeps = |state| capture.entries.contains_key(&state);
        let states = self.plan.states.iter().enumerate();
        let states = states.map(|(state, slot)| StateMeta {
            anew: match driver_keeps(state) {
                true => !self.known.has(&slot.name),
                false => capture.whole.has(state),
            },
            name: slot.name.clone(),
            kind: slot.kind.to_owned(),
            codec: message_pack::NAME.to_owned(),
            fingerprint: slot.type_names.clone(),
        });
        let sources = self.metadata.program.sources.keys().map(|name| StateMeta {
            anew: !self.known.has(name),
            name: name.clone(),
            kind: PRODUCERS.to_owned(),
            codec: message_pack::NAME.to_owned(),
            fingerprint: "producer -> (epoch, sequence, LSN); number -> keys".to_owned(),
        });
        Meta {
            parent: self.parent.filter(|_| capture.whole != Whole::All),
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

/// The nearest whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number that is too large becomes the largest, one below zero 0"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}
