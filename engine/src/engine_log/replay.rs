//! What the log holds after a position: the first half of recovery.

use crate::batch::tick::Tick;
use crate::engine_log::cut::Cut;
use crate::engine_log::entry::{self, ENGINE, Entry, Published, Token};
use crate::engine_log::envelope::{Envelope, Kind};
use crate::engine_log::ledger::Frames;
use crate::engine_log::program::Program;
use crate::error::{Error, Result};
use highwater_wal::{Frame, FrameKind, Lsn, StreamId, Wal};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the log holds from a position on.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// Every program entry, with its LSN; the newest is the last.
    pub(crate) programs: Vec<(Lsn, Program)>,
    /// Every cut, in order.
    pub(crate) cuts: Vec<Cut>,
    /// The newest committed batch.
    pub(crate) committed: Option<u64>,
    /// What its outputs staged, if the log lists it.
    pub(crate) tokens: Option<Vec<Token>>,
    /// Outputs that were not called in the newest committed batch, with the newest one in which
    /// they were.
    uncalled: BTreeMap<String, Option<u64>>,
    /// The newest batch of which the log says that its parts are published.
    pub(crate) published: Option<u64>,
    /// What the frames of each source leave behind.
    pub(crate) frames: BTreeMap<StreamId, Frames>,
    /// Data records of each source.
    pub(crate) records: BTreeMap<StreamId, u64>,
    /// The newest frame of a source.
    pub(crate) newest_data: Option<Lsn>,
    /// Streams that no source has: others write them, and they are not read.
    pub(crate) foreign: BTreeSet<StreamId>,
    /// The oldest and the newest version of the engine's records.
    pub(crate) versions: Option<(u8, u8)>,
    /// Streams of the sources, as far as the log has been read.
    known: BTreeSet<u16>,
    /// Streams of dropped sources.
    retired: BTreeSet<u16>,
}

impl Replay {
    /// Reads the log from `from` to its durable end. `program` is what is known of the sources
    /// before that.
    pub(crate) fn read(
        wal: &Wal,
        dir: &Path,
        from: Lsn,
        program: Option<&Program>,
    ) -> Result<Self> {
        let mut replay = Self::default();
        program.into_iter().for_each(|known| replay.know(known));
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

    /// Gives the cuts of version 1 an interval and a zero, and returns the zero, if there was a
    /// batch. It is that of the newest cut that has one, or the `stored` one; else it follows from
    /// the first batch that is known, as it would have at that time.
    pub(crate) fn complete_version_1(
        &mut self,
        interval_ms: u64,
        stored: Option<u64>,
    ) -> Option<u64> {
        let interval_ms = interval_ms.max(1);
        let ticks = || self.cuts.iter().map(|cut| cut.last.tick);
        let newest = ticks().rev().find(|tick| tick.interval_ms > 0);
        let first = ticks().next().map(|tick| {
            let ms = tick.time_ms;
            (ms - ms % interval_ms).saturating_sub(interval_ms)
        });
        let zero_ms = newest.map(|tick| tick.zero_ms).or(stored).or(first)?;
        for cut in &mut self.cuts {
            let tick = &mut cut.last.tick;
            if tick.interval_ms == 0 {
                *tick = Tick::of_version_1(tick.time_ms, interval_ms, zero_ms);
            }
        }
        Some(zero_ms)
    }

    /// The newest committed batch in which the output `name` was called, if there is one.
    pub(crate) fn last_call(&self, name: &str) -> Option<u64> {
        let uncalled = self.uncalled.get(name).copied();
        uncalled.unwrap_or(self.committed)
    }

    fn know(&mut self, program: &Program) {
        self.known.extend(program.sources.values());
        self.known.extend(&program.retired);
        self.retired = program.retired.iter().copied().collect();
    }

    fn note(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        match frame.kind {
            FrameKind::Control if frame.stream == ENGINE => {
                let (version, entry) = entry::decode(frame.payload())?;
                let (oldest, newest) = self.versions.unwrap_or((version, version));
                self.versions = Some((oldest.min(version), newest.max(version)));
                self.note_entry(entry, frame.lsn)
            }
            kind if frame.stream == ENGINE => Err(format!("a {kind:?} record of stream {ENGINE}")),
            FrameKind::Batch if self.known.contains(&frame.stream.0) => self.note_data(frame),
            _ => {
                self.foreign.insert(frame.stream);
                Ok(())
            }
        }
    }

    fn note_data(&mut self, frame: &Frame<'_>) -> Result<(), String> {
        let envelope = match Envelope::decode(frame.records().next().as_deref()) {
            Ok(envelope) if envelope.kind == Kind::Data => envelope,
            // Nothing of a dropped source is read.
            _ if self.retired.contains(&frame.stream.0) => return Ok(()),
            Ok(envelope) => {
                return Err(format!(
                    "a frame of kind {:?} in stream {}, whose records a source reads",
                    envelope.kind, frame.stream
                ));
            }
            Err(what) => return Err(what),
        };
        let count = frame.records().skip(1).count() as u64;
        if envelope.count.is_some_and(|said| u64::from(said) != count) {
            return Err(format!(
                "a frame with {count} records whose envelope says otherwise"
            ));
        }
        let next = envelope.first_number;
        let next = next.map(|first| first.saturating_add(count));
        let frames = self.frames.entry(frame.stream).or_default();
        frames.push(frame.lsn, envelope.mark, next);
        *self.records.entry(frame.stream).or_default() += count;
        self.newest_data = Some(frame.lsn);
        Ok(())
    }

    fn note_entry(&mut self, entry: Entry, lsn: Lsn) -> Result<(), String> {
        match entry {
            Entry::Program(program) => {
                self.know(&program);
                self.programs.push((lsn, program));
            }
            Entry::Committed(committed) => {
                if self.committed.is_none_or(|newest| newest < committed.batch) {
                    let uncalled = committed.uncalled.into_iter();
                    let uncalled = uncalled.map(|name| (self.last_call(&name), name));
                    self.uncalled = uncalled.map(|(batch, name)| (name, batch)).collect();
                    self.committed = Some(committed.batch);
                    self.tokens = committed.tokens;
                }
            }
            Entry::Published(Published { batch }) => {
                self.published = self.published.max(Some(batch));
            }
            Entry::Cut(record) => {
                let cut = Cut::new(record, lsn)?;
                if let Some(Cut { last, .. }) = self.cuts.last()
                    && (cut.first_id() != last.batch.id + 1 || cut.last.batch.from != last.batch.to)
                {
                    let (cut, last) = (cut.last.batch, last.batch);
                    return Err(format!("the cut of {cut} does not follow {last}"));
                }
                self.cuts.push(cut);
            }
        }
        Ok(())
    }
}
