//! Recovery of the sources: which stream of the log belongs to which source of the program, and
//! whether the program can read what it holds.

use crate::checkpointing::metadata::{Metadata, PRODUCERS};
use crate::engine_log::ledger::{Frames, Settled};
use crate::engine_log::log_view::LogView;
use crate::engine_log::producers::Producers;
use crate::engine_log::program::{Program, SourceKind};
use crate::engine_log::replay::Replay;
use crate::error::{Error, Result};
use crate::ingest::decoder::RefusedRecord;
use crate::ingest::sender::INPUT;
use crate::mismatch::Mismatch;
use crate::panics;
use crate::plan::changes::Changes;
use crate::plan::program::{Plan, SourceInfo};
use crate::plan::source_stream::{SourceStream, Upgrade};
use bytes::Bytes;
use highwater_checkpoint::Checkpoint;
use highwater_wal::{FrameKind, Lsn, StreamId};
use std::collections::{BTreeMap, BTreeSet};

/// What is on disk of the sources.
pub(crate) struct SourcesOnDisk<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) changes: &'a Changes,
    pub(crate) replay: &'a Replay,
    /// How many producers of each stream have positions.
    pub(crate) positions: &'a BTreeMap<StreamId, usize>,
    /// The metadata of the checkpoint, if there is one.
    pub(crate) metadata: Option<&'a Metadata>,
}

impl SourcesOnDisk<'_> {
    fn records(&self, stream: u16) -> u64 {
        let records = self.replay.records.get(&StreamId(stream));
        records.copied().unwrap_or(0)
    }

    fn positions(&self, stream: u16) -> usize {
        let positions = self.positions.get(&StreamId(stream));
        positions.copied().unwrap_or(0)
    }

    fn in_code(&self, name: &str) -> Option<&SourceInfo> {
        self.plan.sources.iter().find(|s| s.name == name)
    }

    /// Renames and drops what the code asks for, refuses what would be lost or misread, and gives
    /// new sources their streams.
    pub(crate) fn apply(&self, program: &mut Program) -> Result<()> {
        self.drop_sources(program);
        self.rename_sources(program)?;
        for (name, stream) in &program.sources {
            self.check_source(name, *stream, program.kinds.get(name))?;
        }
        self.check_names(program)?;
        for source in &self.plan.sources {
            if program.stream(&source.name).is_none() {
                let name = source.name.clone();
                return Err(Mismatch::TooManySources { name }.into());
            }
            let kind = SourceKind {
                kind: source.kind.to_owned(),
                record: source.record.to_owned(),
            };
            program.kinds.insert(source.name.clone(), kind);
            let in_code = self.changes.migrations(&source.name).len();
            let done = program.migrations.get(&source.name).copied().unwrap_or(0);
            if in_code < done {
                let name = source.name.clone();
                return Err(Mismatch::ConversionsGone {
                    name,
                    call: "migrate_input",
                    remedy: "drop_source",
                    in_code,
                    done,
                }
                .into());
            }
            if in_code > 0 {
                program.migrations.insert(source.name.clone(), in_code);
            }
        }
        self.check_migrations()
    }

    fn drop_sources(&self, program: &mut Program) {
        for (name, calls) in self.changes.drops() {
            let obeyed = program.drops.get(&name).copied().unwrap_or(0);
            // A name that is in use, or was renamed since, is that of another source than the one
            // that was dropped.
            let in_use = self.in_code(&name).is_some() || self.changes.target(&name).is_some();
            let again = !in_use || calls > obeyed;
            if let Some(stream) = again.then(|| program.retire(&name)).flatten() {
                let (records, positions) = (self.records(stream.0), self.positions(stream.0));
                tracing::warn!(
                    source = name,
                    records,
                    positions,
                    "the program drops this source: what no checkpoint covers of it, and its positions, are thrown away"
                );
            }
            program.drops.insert(name, calls);
        }
    }

    fn rename_sources(&self, program: &mut Program) -> Result<()> {
        let names: Vec<String> = program.sources.keys().cloned().collect();
        for old in names {
            let new = self
                .changes
                .current_name(&old, |name| program.sources.contains_key(name));
            if new != old && self.in_code(&old).is_some() && self.in_code(new).is_none() {
                continue; // a rename of long ago: its source is gone, and this is another one
            }
            if new != old {
                program.rename(&old, new);
                continue;
            }
            // The name is taken. Either the rename was made before, and today's program has a new
            // source of the old name; or two sources would become one.
            let taken = self.changes.target(&old);
            if let Some(new) = taken.filter(|_| self.in_code(&old).is_none()) {
                let new = new.to_owned();
                return Err(Mismatch::TwoSourcesForOne { old, new }.into());
            }
        }
        Ok(())
    }

    fn check_source(&self, name: &str, stream: u16, then: Option<&SourceKind>) -> Result<()> {
        let (records, producers) = (self.records(stream), self.positions(stream));
        if records == 0 && producers == 0 {
            return Ok(());
        }
        let Some(now) = self.in_code(name) else {
            return Err(Mismatch::SourceGone {
                name: name.to_owned(),
                records,
                producers,
            }
            .into());
        };
        match then {
            Some(then) if then.kind != now.kind => Err(Mismatch::OtherSource {
                name: name.to_owned(),
                then: format!("{} ({})", then.kind, then.record),
                now: format!("{} ({})", now.kind, now.record),
                records,
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// States are in a checkpoint by name, and producer tables have the names of their sources.
    fn check_names(&self, program: &Program) -> Result<()> {
        let mut states = self.plan.states.iter().map(|s| &s.name);
        match states.find(|name| program.sources.contains_key(*name)) {
            Some(name) => Err(Mismatch::NameOfASource { name: name.clone() }.into()),
            None => Ok(()),
        }
    }

    fn check_migrations(&self) -> Result<()> {
        let mut sources = self
            .changes
            .migrated()
            .filter_map(|name| self.in_code(name));
        match sources.find(|source| source.kind != INPUT) {
            Some(SourceInfo { name, kind, .. }) => Err(Error::Setting(format!(
                "migrate_input(\"{name}\", ..): \"{name}\" is a source of kind {kind}, whose records have no type of the program's"
            ))),
            None => Ok(()),
        }
    }

    /// The streams of the program's sources, and which records in the log need which conversions. A
    /// record needs those that came with a later program entry. `end` is where the entry of this
    /// start will be.
    pub(crate) fn streams(&self, program: &Program, end: Lsn) -> Vec<SourceStream> {
        let sources = self.plan.sources.iter();
        sources
            .map(|source| {
                let id = program.sources.get(&source.name).copied();
                let id = id.expect("every source of the program has its stream");
                let conversions = self.changes.migrations(&source.name).iter();
                let upgrades = conversions.zip(1..).map(|(convert, count)| Upgrade {
                    below: self.known_since(id, count).unwrap_or(end),
                    convert: convert.clone(),
                });
                SourceStream {
                    id: StreamId(id),
                    upgrades: upgrades.collect(),
                }
            })
            .collect()
    }

    /// From where on records of a stream need the first `count` conversions no more.
    fn known_since(&self, stream: u16, count: usize) -> Option<Lsn> {
        let knows = |program: &Program| {
            let name = program.name_of(stream);
            name.and_then(|name| program.migrations.get(name)) >= Some(&count)
        };
        if self.metadata.is_some_and(|m| knows(&m.program)) {
            return Some(Lsn::ZERO);
        }
        let mut programs = self.replay.programs.iter();
        programs.find_map(|(lsn, program)| knows(program).then_some(*lsn))
    }

    /// Reads every record that no checkpoint covers as the program would. What cannot be read is
    /// refused now, not in the batch, and not again at every start.
    pub(crate) fn check_records(
        &self,
        log: LogView<'_>,
        from: Lsn,
        program: &Program,
        streams: &[SourceStream],
    ) -> Result<()> {
        let sources: BTreeMap<StreamId, (&SourceInfo, &SourceStream)> = self
            .plan
            .sources
            .iter()
            .zip(streams)
            .map(|(source, stream)| (stream.id, (source, stream)))
            .collect();
        if !sources.keys().any(|stream| self.records(stream.0) > 0) {
            return Ok(());
        }
        log.each(from, |frame| {
            let of_source = sources.get(&frame.stream);
            let Some((source, stream)) = of_source.filter(|_| frame.kind == FrameKind::Batch)
            else {
                return Ok(());
            };
            let records = frame.records();
            let records = records.get(1..).unwrap_or_default();
            match unreadable(source, stream, frame.lsn, records) {
                None => Ok(()),
                Some(message) => Err(Mismatch::RecordType {
                    name: source.name.clone(),
                    lsn: frame.lsn,
                    now: source.record.to_owned(),
                    then: self.written_as(program, &source.name),
                    message,
                }
                .into()),
            }
        })
    }

    /// Logs what is skipped. After a fallback to an older checkpoint this may be more than the drop
    /// has reported.
    pub(crate) fn report_skipped(&self, program: &Program) {
        let retired = program.retired.iter();
        let records: u64 = retired.map(|stream| self.records(*stream)).sum();
        if records > 0 {
            tracing::warn!(
                records,
                "records of sources that the program has dropped are after the checkpoint: the replay leaves them out"
            );
        }
    }

    /// The type of a source's records when they were written, as far as the log knows.
    fn written_as(&self, program: &Program, name: &str) -> String {
        let stream = program.sources.get(name).copied();
        let before = self.replay.programs.last().map(|(_, program)| program);
        let before = before.or(self.metadata.map(|m| &m.program));
        before
            .and_then(|before| before.kinds.get(before.name_of(stream?)?))
            .map_or("a type that the log does not name".to_owned(), |kind| {
                kind.record.clone()
            })
    }
}

/// Why the first of these records of one frame cannot be read back, if one cannot.
fn unreadable(
    source: &SourceInfo,
    stream: &SourceStream,
    lsn: Lsn,
    records: &[&[u8]],
) -> Option<String> {
    let why = |refused: RefusedRecord| refused.message;
    if stream.is_current(lsn) {
        return source.check.refused(records.iter().copied()).map(why);
    }
    records.iter().find_map(|record| {
        let readable = panics::catch(|| {
            let record = stream.upgrade(lsn, Bytes::copy_from_slice(record))?;
            let refused = source.check.refused(std::iter::once(&record[..]));
            refused.map_or(Ok(()), |refused| Err(why(refused)))
        });
        readable.err()
    })
}

/// What a checkpoint has of the sources, by stream. Its own metadata has the stream of each name.
pub(crate) fn restore_settled(
    checkpoint: &Checkpoint,
    metadata: &Metadata,
) -> Result<BTreeMap<StreamId, Settled>> {
    let mut all = BTreeMap::<StreamId, Settled>::new();
    for (name, next) in &metadata.numbers {
        if let Some(stream) = metadata.program.sources.get(name) {
            all.entry(StreamId(*stream)).or_default().next_number = *next;
        }
    }
    let states = checkpoint.manifest().states.iter();
    for state in states.filter(|s| s.kind == PRODUCERS) {
        let Some(stream) = metadata.program.sources.get(&state.name) else {
            continue;
        };
        let Some(group) = checkpoint.read_group(&state.name, 0)? else {
            continue;
        };
        let table = match checkpoint.manifest().format_version {
            1 => Producers::decode(&group.bytes).map(|producers| Settled {
                producers,
                ..Settled::default()
            }),
            _ => Settled::from_entries(&group.bytes),
        };
        let table = table.map_err(|message| Mismatch::Undecodable {
            name: state.name.clone(),
            checkpoint: checkpoint.manifest().number,
            group: 0,
            now: "producer table".to_owned(),
            then: state.fingerprint.clone(),
            message,
        })?;
        let settled = all.entry(StreamId(*stream)).or_default();
        *settled = Settled {
            next_number: settled.next_number,
            ..table
        };
    }
    Ok(all)
}

/// How many producers of each stream have positions at the end of the log, and how many keys it
/// has.
pub(crate) fn positions(
    settled: &BTreeMap<StreamId, Settled>,
    replay: &Replay,
) -> BTreeMap<StreamId, usize> {
    let mut names = BTreeMap::<StreamId, BTreeSet<&str>>::new();
    for (stream, settled) in settled {
        let known = settled.producers.iter().map(|(name, _)| name);
        names.entry(*stream).or_default().extend(known);
    }
    for (stream, frames) in &replay.frames {
        let marked = frames.marks().map(|(_, mark)| &*mark.producer);
        names.entry(*stream).or_default().extend(marked);
    }
    let keys = |stream: &StreamId| {
        let settled = settled.get(stream).map_or(0, |settled| settled.keys.len());
        settled + replay.frames.get(stream).map_or(0, Frames::keys)
    };
    let counts = names.into_iter();
    counts
        .map(|(stream, names)| (stream, names.len() + keys(&stream)))
        .collect()
}
