//! Checkpoints of the table, so that a start reads only what came after the newest one.
//!
//! Each part of the table is a key group. It is written as it is at some moment, one part after the
//! other, while requests go on. It says which frame it has seen last: what the log has before that
//! is not applied again.

use crate::error::{Error, Result};
use crate::frame::codec::{Bytes, put_number};
use crate::recovery::entry;
use crate::shared::core::Core;
use crate::state::table::{PARTS, Part};
use highwater_checkpoint::entries::{append, entries};
use highwater_checkpoint::{
    Batch, BlockKind, Checkpoint, Checkpoints, GroupBlock, LocalStore, LogBounds, Meta, Options,
    Ownership, StateMeta,
};
use highwater_wal::Lsn;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const STREAMS: &str = "streams";
const PART_STATE: &str = "parts";

/// The checkpoints of the table.
#[derive(Debug)]
pub(crate) struct Snapshots {
    checkpoints: Checkpoints,
    /// What the next one continues; `None` writes everything.
    parent: Option<u64>,
    /// Where the newest one begins.
    pub(crate) lsn: u64,
    pub(crate) taken_ms: u64,
}

impl Snapshots {
    /// Opens them, and reads the newest one into the table. The log is to be read from
    /// [`Self::lsn`] on.
    pub(crate) fn open(core: &Core, dir: &Path) -> Result<Self> {
        let store = LocalStore::new(Arc::clone(&core.options.disk), dir);
        let bytes = core.wal.log_id().to_le_bytes();
        let (low, _) = bytes.split_first_chunk::<8>().expect("16 bytes have 8");
        let options = Options {
            // The lock of the log excludes every other writer.
            ownership: Ownership::Sole,
            writer: u64::from_le_bytes(*low),
            ..Options::default()
        };
        let mut checkpoints = Checkpoints::open(Arc::new(store), options)?;
        let bounds = LogBounds {
            log_id: core.wal.log_id(),
            first_lsn: core.wal.first_lsn().get(),
            end_lsn: core.wal.durable_lsn().get(),
        };
        let newest = checkpoints.newest_for(&bounds)?;
        if let Some(newest) = &newest {
            load(core, newest)?;
        }
        Ok(Self {
            checkpoints,
            parent: newest.as_ref().map(Checkpoint::number),
            lsn: newest.as_ref().map_or(0, Checkpoint::lsn),
            taken_ms: core.now_ms(),
        })
    }

    /// How far the log may be truncated, as far as the table is concerned.
    pub(crate) fn needed(&self) -> u64 {
        self.checkpoints.oldest_needed_lsn().unwrap_or(0)
    }

    /// Writes what has changed since the last one. Tells how far the log may be truncated, as far
    /// as the table is concerned.
    pub(crate) fn take(&mut self, core: &Core) -> Result<Option<u64>> {
        let written = self.write(core);
        if written.is_err() {
            // What had changed is not known any more.
            self.parent = None;
        }
        written?;
        core.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        Ok(self.checkpoints.retire()?.oldest_needed_lsn)
    }

    fn write(&mut self, core: &Core) -> Result<()> {
        // Before anything is looked at. Frames from here on may be in what is looked at, and are
        // known by its part. Earlier ones are in it: their parts were locked until they were.
        let Some(lsn) = core
            .table
            .each()
            .map(|part| part.applied)
            .max()
            .filter(|lsn| *lsn > 0)
        else {
            return Ok(());
        };
        let parent = self
            .parent
            .filter(|parent| self.checkpoints.can_continue(*parent));
        let kind = match parent {
            Some(_) => BlockKind::Delta,
            None => BlockKind::Base,
        };
        let mut states = Vec::new();
        let (mut keys, durable) = (0, core.durable());
        let mut writer = self.checkpoints.begin(meta(core, parent, lsn))?;
        for index in 0..PARTS {
            let block = {
                let mut part = core.table.part(index as u64);
                keys += part.len() as u64;
                put_state(&mut states, &part)?;
                capture(&mut part, kind, durable)?
            };
            if block.removed + block.entries > 0 {
                writer.add(STREAMS, group(index), block)?;
            }
        }
        writer.set_keys(STREAMS, keys)?;
        writer.add_block(PART_STATE, 0, PARTS as u64, &states)?;
        // What was captured must not be newer than what the log keeps.
        core.wal.sync()?;
        let published = writer.publish()?;
        self.parent = Some(published.number);
        self.lsn = lsn;
        self.taken_ms = core.now_ms();
        Ok(())
    }
}

fn group(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn meta(core: &Core, parent: Option<u64>, lsn: u64) -> Meta {
    let state = |name: &str, anew| StateMeta {
        name: name.to_owned(),
        kind: "table".to_owned(),
        codec: "streams-1".to_owned(),
        fingerprint: "number -> stream".to_owned(),
        anew,
    };
    Meta {
        parent,
        log_id: core.wal.log_id(),
        application: "highwater-streams".to_owned(),
        created_ms: core.wall_ms(),
        batch: Batch {
            id: lsn,
            time_ms: core.wall_ms(),
        },
        lsn,
        metadata: serde_json::json!({ "parts": PARTS }),
        states: vec![state(STREAMS, parent.is_none()), state(PART_STATE, true)],
    }
}

fn put(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let written = append(out, |out| {
        write(out);
        Ok::<(), Infallible>(())
    });
    written.map_err(|what| Error::Inconsistent { lsn: 0, what })
}

fn put_state(out: &mut Vec<u8>, part: &Part) -> Result<()> {
    put(out, |out| put_number(out, part.index()))?;
    put(out, |out| {
        put_number(out, part.numbers_given);
        put_number(out, part.applied);
    })
}

/// What is to be written of a part: all of it, or what has changed.
fn capture(part: &mut Part, kind: BlockKind, durable: u64) -> Result<GroupBlock> {
    let mut block = GroupBlock {
        kind,
        removed: 0,
        entries: 0,
        bytes: Vec::new(),
    };
    for number in std::mem::take(&mut part.removed) {
        if kind == BlockKind::Delta {
            put(&mut block.bytes, |out| out.extend(number.to_be_bytes()))?;
            block.removed += 1;
        }
    }
    for stream in part.streams_mut() {
        stream.settle(durable);
        if stream.is_dirty || kind == BlockKind::Base {
            stream.is_dirty = false;
            put(&mut block.bytes, |out| {
                out.extend(stream.number.to_be_bytes())
            })?;
            put(&mut block.bytes, |out| entry::encode(stream, out))?;
            block.entries += 1;
        }
    }
    Ok(block)
}

/// Reads a checkpoint into the empty table.
fn load(core: &Core, checkpoint: &Checkpoint) -> Result<()> {
    let damaged = || Error::Inconsistent {
        lsn: checkpoint.lsn(),
        what: format!(
            "checkpoint {} of the table has what this version does not write",
            checkpoint.number()
        ),
    };
    let states = checkpoint.read_group(PART_STATE, 0)?.ok_or_else(damaged)?;
    for item in entries(&states.bytes) {
        let (key, value) = item.map_err(|_| damaged())?;
        let index = Bytes(key).number().ok_or_else(damaged)?;
        let mut value = Bytes(value);
        let mut part = core.table.part(index);
        part.numbers_given = value.number().ok_or_else(damaged)?;
        part.applied = value.number().ok_or_else(damaged)?;
    }
    let now_ms = core.now_ms();
    for index in 0..PARTS {
        let Some(found) = checkpoint.read_group(STREAMS, group(index))? else {
            continue;
        };
        let mut streams = Vec::new();
        for item in entries(&found.bytes) {
            let (key, value) = item.map_err(|_| damaged())?;
            let number = u64::from_be_bytes(key.try_into().map_err(|_| damaged())?);
            streams.push(entry::decode(core, number, value).ok_or_else(damaged)?);
        }
        // A name is that of the newest stream that has it.
        streams.sort_unstable_by_key(|stream| stream.number);
        let mut part = core.table.part(index as u64);
        for mut stream in streams {
            stream.is_dirty = false;
            stream.touched_ms = now_ms;
            part.insert(stream);
        }
    }
    Ok(())
}

/// Where the log is to be read from, to bring the table up to date.
pub(crate) fn read_from(snapshots: &Snapshots) -> Lsn {
    Lsn::new(snapshots.lsn)
}
