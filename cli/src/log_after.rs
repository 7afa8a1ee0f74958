//! What the log of an engine has after a position, read bit by bit as it grows.

use crate::engine_records;
use highwater::checkpoint::Manifest;
use highwater::wal::inspect::{DumpedFrame, Log};
use highwater::wal::{FrameKind, Lsn, StreamId};
use highwater_log::outcome::Result;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the log has after a position.
#[derive(Debug, Clone)]
pub(crate) struct LogAfter {
    /// The last batch that was cut there.
    pub(crate) last_batch: Option<u64>,
    /// The end of the log.
    pub(crate) end: u64,
    /// What sources have stored there, by their streams.
    pub(crate) streams: BTreeMap<u16, Stored>,
    /// Up to here it was read.
    next: Lsn,
}

/// What a source has stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// When the oldest of them was received.
    pub(crate) oldest_ms: Option<u64>,
}

impl LogAfter {
    /// Everything from `from` on.
    pub(crate) fn read(log: &Log, from: Lsn) -> Result<Self> {
        let mut after = Self {
            last_batch: None,
            end: from.get(),
            streams: BTreeMap::new(),
            next: from,
        };
        after.read_on(log)?;
        Ok(after)
    }

    /// What has come since.
    pub(crate) fn read_on(&mut self, log: &Log) -> Result<()> {
        let frames = log.frames(self.next)?;
        self.end = frames.log_end().get();
        for frame in frames {
            let frame = frame?;
            self.next = frame.end_lsn;
            match frame.kind {
                FrameKind::Control if frame.stream == StreamId(0) => self.note_entry(&frame),
                FrameKind::Batch if !frame.is_void => self.note_data(&frame),
                _ => {}
            }
        }
        Ok(())
    }

    fn note_entry(&mut self, frame: &DumpedFrame) {
        let entry = engine_records::control(&frame.payload);
        let batch = entry
            .as_ref()
            .and_then(|entry| entry.get("Cut")?.get("batch"));
        self.last_batch = batch.and_then(Value::as_u64).or(self.last_batch);
    }

    fn note_data(&mut self, frame: &DumpedFrame) {
        let records = frame.records();
        let Some((first, records)) = records.split_first() else {
            return;
        };
        let Some(envelope) = engine_records::envelope(first) else {
            return;
        };
        let stored = self.streams.entry(frame.stream.0).or_default();
        stored.records += records.len() as u64;
        stored.bytes += records
            .iter()
            .map(|record| record.len() as u64)
            .sum::<u64>();
        let received = envelope.get("received_ms").and_then(Value::as_u64);
        let received = received.filter(|ms| *ms > 0);
        stored.oldest_ms = match (stored.oldest_ms, received) {
            (Some(oldest), Some(received)) => Some(oldest.min(received)),
            (oldest, received) => oldest.or(received),
        };
    }

    /// How many batches and bytes of log a recovery from `manifest` replays.
    pub(crate) fn to_replay(&self, manifest: &Manifest) -> (u64, u64) {
        let last_batch = self.last_batch.unwrap_or(manifest.batch.id);
        (
            last_batch.saturating_sub(manifest.batch.id),
            self.end.saturating_sub(manifest.lsn),
        )
    }

    /// What loading `manifest` takes, and the whole recovery, as measured by the program that took
    /// it: milliseconds.
    pub(crate) fn recovery_ms(&self, manifest: &Manifest) -> (Option<u64>, Option<u64>) {
        let (batches, bytes) = self.to_replay(manifest);
        let cost = |name: &str| manifest.metadata.get("costs")?.get(name)?.as_u64();
        let replay = cost("batch_us").zip(cost("byte_ps"));
        let replay = replay.map(|(batch_us, byte_ps)| {
            let batches = Duration::from_micros(batch_us.saturating_mul(batches));
            let bytes = byte_ps.saturating_mul(bytes) / 1_000;
            let replay = batches + Duration::from_nanos(bytes);
            u64::try_from(replay.as_millis()).unwrap_or(u64::MAX)
        });
        let load = cost("load_ms");
        let both = load.zip(replay);
        (load, both.map(|(load, replay)| load.saturating_add(replay)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// By hand: 5 batches of 2 ms, 3,000 bytes of 1 µs, and 40 ms to load.
    #[test]
    fn the_time_is_what_a_calculation_by_hand_gives() {
        let manifest = |costs: Value| -> Manifest {
            serde_json::from_value(json!({
                "format_version": 2, "number": 3, "previous": 2, "writer": "0000000000000001",
                "generation": 1, "attempt": "0000000000000001",
                "log_id": "00000000000000000000000000000001", "application": "a",
                "created_ms": 1, "batch": {"id": 10, "time_ms": 1}, "lsn": 1000, "chain": [3],
                "metadata": {"costs": costs}, "files": [], "next_state_id": 0, "states": [],
            }))
            .unwrap()
        };
        let after = LogAfter {
            last_batch: Some(15),
            end: 4000,
            streams: BTreeMap::new(),
            next: Lsn::new(4000),
        };
        let costs = json!({"load_ms": 40, "batch_us": 2000, "byte_ps": 1_000_000});
        let known = manifest(costs);
        assert_eq!(after.to_replay(&known), (5, 3000));
        assert_eq!(after.recovery_ms(&known), (Some(40), Some(40 + 10 + 3)));
        assert_eq!(after.recovery_ms(&manifest(Value::Null)), (None, None));
    }
}
