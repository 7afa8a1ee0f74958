//! What the log holds after a position: the first half of recovery.

use crate::batch::source_range::place;
use crate::batch::tick::Tick;
use crate::engine_log::cut::Cut;
use crate::engine_log::entry::{self, Committed, ENGINE, Entry, Published, Token};
use crate::engine_log::envelope::{Envelope, Kind, Mark};
use crate::engine_log::keys::KeyMark;
use crate::engine_log::ledger::Frames;
use crate::engine_log::log_view::{LogFrame, LogView};
use crate::engine_log::program::Program;
use crate::error::{Error, Result};
use crate::refused::lists::Refused;
use highwater_wal::{FrameKind, Lsn, StreamId};
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
    /// What each committed batch has refused, if it has refused anything.
    pub(crate) refused: BTreeMap<u64, Refused>,
    /// From where the log is read.
    from: Lsn,
    /// Parts of it that no commit has named yet.
    parts: BTreeMap<Lsn, Refused>,
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
        log: LogView<'_>,
        dir: &Path,
        from: Lsn,
        program: Option<&Program>,
    ) -> Result<Self> {
        let mut replay = Self {
            from,
            ..Self::default()
        };
        program.into_iter().for_each(|known| replay.know(known));
        log.each(from, |frame| {
            replay.note(frame).map_err(|what| Error::EngineLog {
                dir: dir.to_owned(),
                lsn: frame.lsn,
                what,
            })
        })?;
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

    /// Takes in the positions that the cuts give to sources which keep their own data. To be called
    /// when the cuts that a checkpoint covers are gone.
    pub(crate) fn note_positions(&mut self) {
        for cut in &self.cuts {
            let place = place(&cut.last.batch);
            let ranges = cut.sources.iter();
            for range in ranges.filter(|range| !self.retired.contains(&range.stream)) {
                let mark = Mark {
                    producer: range.item.as_str().into(),
                    epoch: 0,
                    sequence: range.to,
                };
                let frames = self.frames.entry(StreamId(range.stream)).or_default();
                frames.push(place, Some(mark), None);
            }
        }
    }

    fn know(&mut self, program: &Program) {
        self.known.extend(program.sources.values());
        self.known.extend(&program.retired);
        self.retired = program.retired.iter().copied().collect();
    }

    fn note(&mut self, frame: &LogFrame<'_>) -> Result<(), String> {
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

    fn note_data(&mut self, frame: &LogFrame<'_>) -> Result<(), String> {
        let (first, count, bytes) = frame.first_record();
        let envelope = match Envelope::decode(first) {
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
        if envelope.count.is_some_and(|said| u64::from(said) != count) {
            return Err(format!(
                "a frame with {count} records whose envelope says otherwise"
            ));
        }
        let next = envelope.first_number;
        let next = next.map(|first| first.saturating_add(count));
        let frames = self.frames.entry(frame.stream).or_default();
        if let Some(key) = &envelope.key {
            frames.push_key(frame.lsn, KeyMark::new(key, envelope.received_ms));
        }
        frames.push(frame.lsn, envelope.mark, next);
        frames.received(frame.lsn, bytes, envelope.received_ms);
        *self.records.entry(frame.stream).or_default() += count;
        self.newest_data = Some(frame.lsn);
        Ok(())
    }

    fn note_committed(&mut self, committed: Committed) -> Result<(), String> {
        let batch = committed.batch;
        if self.committed.is_none_or(|newest| newest < batch) {
            let uncalled = committed.uncalled.into_iter();
            let uncalled = uncalled.map(|name| (self.last_call(&name), name));
            self.uncalled = uncalled.map(|(batch, name)| (name, batch)).collect();
            self.committed = Some(batch);
            self.tokens = committed.tokens;
        }
        let mut refused = Refused {
            skips: committed.skips,
            dead_letters: committed.dead_letters,
        };
        // What is not read is of a batch that the checkpoint covers: its cut, and this record, may
        // come after the cut of a later one.
        for lsn in committed
            .refused_at
            .into_iter()
            .filter(|lsn| *lsn >= self.from)
        {
            let part = self.parts.remove(&lsn);
            refused.append(part.ok_or_else(|| {
                format!(
                    "batch {batch} has refused records that LSN {lsn} should name, and does not"
                )
            })?);
        }
        // The others are of attempts that were not committed.
        self.parts.clear();
        if !refused.is_empty() {
            self.refused.insert(batch, refused);
        }
        Ok(())
    }

    fn note_entry(&mut self, entry: Entry, lsn: Lsn) -> Result<(), String> {
        match entry {
            Entry::Program(program) => {
                self.know(&program);
                self.programs.push((lsn, program));
            }
            Entry::Committed(committed) => self.note_committed(committed)?,
            Entry::Refused(part) => {
                self.parts.insert(lsn, part.refused);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine_log::cut::CutRecord;
    use crate::engine_log::entry::RefusedPart;
    use crate::refused::noted::Noted;
    use crate::refused::place::Place;
    use highwater_wal::disk::{ManualClock, SimDisk};
    use highwater_wal::{Background, Options, Wal};
    use std::sync::Arc;

    fn refused(index: u32) -> Refused {
        let place = Place::Log {
            lsn: Lsn::new(8),
            index,
            input: 0,
        };
        let noted = Noted {
            operator: 0,
            place,
            letter: None,
        };
        Refused::of(&[noted], |_| "parse").unwrap()
    }

    /// A cut may come between the parts of a list and the commit that names them. Recovery from the
    /// checkpoint of the later batch does not read the parts, and took the log for damaged.
    #[test]
    fn parts_of_uncommitted_attempts_and_of_covered_batches_are_nobodys() {
        let options = Options::new()
            .disk(Arc::new(SimDisk::new()))
            .clock(Arc::new(ManualClock::new(0)))
            .background(Background::Inline);
        let wal = Wal::open_with("/log", options).unwrap();
        let append = |entry: &Entry| entry::append(&wal, entry).unwrap();
        let part = |batch, index| {
            let refused = refused(index);
            append(&Entry::Refused(RefusedPart { batch, refused }))
        };
        let commit = |batch, refused_at| {
            append(&Entry::Committed(Committed {
                batch,
                refused_at,
                ..Committed::default()
            }))
        };
        let first = wal.first_lsn();
        let covered = part(1, 1);
        let cut = append(&Entry::Cut(CutRecord {
            batch: 2,
            tick_ms: 1000,
            interval_ms: 1000,
            zero_ms: 0,
            wall_ms: 1000,
            part: 0,
            more_parts: false,
            restarted: false,
            from: first,
            to: None,
            empty: Vec::new(),
            sources: Vec::new(),
        }));
        let _later = commit(1, vec![covered]);
        let _of_a_failed_attempt = part(2, 2);
        let whole = vec![part(2, 3), part(2, 4)];
        let end = commit(2, whole);
        wal.sync_to(end).unwrap();
        let read = |from| {
            Replay::read(LogView::Open(&wal), Path::new("/"), from, None)
                .unwrap()
                .refused
        };
        let places = |refused: &Refused| {
            let places = refused.places(|_| Some(0)).remove(&0).unwrap();
            let text: Vec<String> = places.iter().map(ToString::to_string).collect();
            text.join(" ")
        };
        let found = read(cut);
        assert_eq!(found.keys().collect::<Vec<_>>(), [&2]);
        assert_eq!(places(&found[&2]), "8.3.0 8.4.0");
        assert_eq!(places(&read(first)[&1]), "8.1.0");
        let missing = commit(3, vec![cut]);
        wal.sync_to(missing).unwrap();
        let error = Replay::read(LogView::Open(&wal), Path::new("/"), first, None).unwrap_err();
        assert!(error.to_string().contains("batch 3"), "{error}");
    }
}
