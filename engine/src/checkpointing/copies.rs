//! Takes in what the workers copy for a checkpoint, encodes it, and adds it.

use crate::checkpointing::capture::{Capture, Captured};
use crate::error::{Error, Result};
use crate::plan::program::{Plan, StateInfo};
use crate::state::table::block::EncodedGroup;
use highwater_checkpoint::CheckpointWriter;
use highwater_wal::disk::Clock;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long it took to read keys back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadBack {
    pub(crate) keys: u64,
    took: Duration,
}

impl ReadBack {
    /// What as many as `keys` would take.
    pub(crate) fn of(&self, keys: u64) -> Duration {
        let Some(nanos) = self.took.as_nanos().checked_div(u128::from(self.keys)) else {
            return Duration::ZERO;
        };
        let nanos = nanos.saturating_mul(u128::from(keys));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What the workers copy for a checkpoint.
pub(crate) struct Copies<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) capture: &'a Capture,
}

impl Copies<'_> {
    /// Adds all of it, as it comes. How long it took to read it back.
    pub(crate) fn write(&self, writer: &mut CheckpointWriter<'_>) -> Result<ReadBack> {
        let (mut done, mut keys) = (0, BTreeMap::<usize, u64>::new());
        let mut read_back = ReadBack::default();
        while done < self.capture.workers {
            match self.capture.copies.recv() {
                Ok(Captured::Done) => done += 1,
                Ok(Captured::Keys { state, keys: more }) => *keys.entry(state).or_default() += more,
                Ok(Captured::Group { state, group, held }) => {
                    let Some(slot) = self.plan.states.get(state) else {
                        continue;
                    };
                    let encoded = group.encode();
                    let encoded = encoded.map_err(|m| not_written(&slot.name, slot.kind, m))?;
                    drop(held);
                    self.check(state, slot, &encoded, &mut read_back)?;
                    writer.add(&slot.name, encoded.group, encoded.into())?;
                }
                Ok(Captured::Failed { state, message }) => {
                    let slot = self.plan.states.get(state);
                    let (name, kind) = slot.map_or(("", ""), |slot| (&slot.name, slot.kind));
                    return Err(not_written(name, kind, message));
                }
                Err(_) => {
                    let what = "a worker was lost while the state was copied for a checkpoint";
                    return Err(Error::Worker(what.to_owned()));
                }
            }
        }
        for (state, keys) in keys {
            if let Some(slot) = self.plan.states.get(state) {
                writer.set_keys(&slot.name, keys)?;
            }
        }
        Ok(read_back)
    }

    /// A checkpoint that cannot be read is worthless: every key and value is decoded before the log
    /// loses what it came from.
    pub(crate) fn check(
        &self,
        state: usize,
        slot: &StateInfo,
        encoded: &EncodedGroup,
        read_back: &mut ReadBack,
    ) -> Result<()> {
        let bytes = (encoded.bytes.len() + encoded.gone.len()) as u64;
        let keys = encoded.entries + encoded.removed;
        self.capture.memory.encoded(state, keys, bytes);
        let began = self.clock.now();
        let message = match slot.types.read_back(&encoded.bytes) {
            Ok(entries) if entries == encoded.entries => {
                read_back.keys += entries;
                read_back.took += self.clock.now().saturating_sub(began);
                return Ok(());
            }
            Ok(entries) => format!(
                "{} entries were written and {entries} are read",
                encoded.entries
            ),
            Err(message) => message,
        };
        Err(not_written(&slot.name, slot.kind, message))
    }
}

/// Why a state is not in a checkpoint.
pub(crate) fn not_written(name: &str, kind: &str, message: String) -> Error {
    Error::State {
        name: name.to_owned(),
        operator: kind.to_owned(),
        message,
    }
}
