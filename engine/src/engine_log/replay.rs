//! What the log holds after a position: the first half of recovery.

use crate::batch::Batch;
use crate::engine_log::entry::{self, ENGINE, Entry};
use crate::engine_log::frame_header::decode_header;
use crate::engine_log::producers::Producers;
use crate::engine_log::program::Program;
use crate::error::{Error, Result};
use highwater_wal::{Frame, FrameKind, Lsn, StreamId, Wal};
use std::collections::BTreeMap;
use std::path::Path;

/// What the log holds from a position on.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// Every program entry, with its LSN; the newest is the last.
    pub(crate) programs: Vec<(Lsn, Program)>,
    /// Every cut, in order.
    pub(crate) cuts: Vec<Batch>,
    /// The newest committed batch.
    pub(crate) committed: Option<u64>,
    /// Producers' offsets of each stream.
    pub(crate) producers: BTreeMap<StreamId, Producers>,
    /// Data records of each stream.
    pub(crate) records: BTreeMap<StreamId, u64>,
}

impl Replay {
    /// Reads the log from `from` to its durable end.
    pub(crate) fn read(wal: &Wal, dir: &Path, from: Lsn) -> Result<Self> {
        let mut replay = Self::default();
        let mut frames = wal.read_from(from)?;
        while let Some(frame) = frames.next_frame()? {
            let misfit = |what| Error::EngineLog {
                dir: dir.to_owned(),
                lsn: frame.lsn,
                what,
            };
            replay.note(&frame).map_err(misfit)?;
        }
        Ok(replay)
    }

    fn note(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        match frame.kind {
            FrameKind::Control if frame.stream == ENGINE => {
                self.note_entry(entry::decode(frame.payload())?, frame.lsn)
            }
            FrameKind::Batch if frame.stream != ENGINE => {
                note_offset(frame, &mut self.producers)?;
                let records = frame.records().skip(1).count();
                *self.records.entry(frame.stream).or_default() += records as u64;
                Ok(())
            }
            kind => Err(format!("a {kind:?} record of stream {}", frame.stream)),
        }
    }

    fn note_entry(&mut self, entry: Entry, lsn: Lsn) -> Result<(), String> {
        if let Some(cut) = entry.as_cut(lsn) {
            if let Some(before) = self.cuts.last()
                && (cut.id != before.id + 1 || cut.from != before.to)
            {
                return Err(format!("the cut of {cut} does not follow {before}"));
            }
            self.cuts.push(cut);
        }
        match entry {
            Entry::Program(program) => self.programs.push((lsn, program)),
            Entry::Committed { batch } => self.committed = self.committed.max(Some(batch)),
            Entry::Cut { .. } => {}
        }
        Ok(())
    }
}

/// Takes the producer's offset from a frame: what the checkpoint after its batch must know.
pub(crate) fn note_offset(
    frame: &Frame<'_>,
    producers: &mut BTreeMap<StreamId, Producers>,
) -> Result<(), String> {
    if frame.kind == FrameKind::Batch
        && frame.stream != ENGINE
        && let Some(offset) = decode_header(frame.records().next().as_deref())?
    {
        producers
            .entry(frame.stream)
            .or_default()
            .advance(offset, frame.lsn);
    }
    Ok(())
}
