//! Group commit: writing and syncing what was appended.
//!
//! There is no thread for it. A thread that needs a record durable and finds no leader becomes the
//! leader. It syncs everything that is complete, publishes the new durable LSN, and wakes the
//! others. Those it did not reach elect the next leader.

use crate::commit::group_commit::Leader;
use crate::commit::idle::IdleSignal;
use crate::commit::state::CommitState;
use crate::error::Result;
use crate::facade::tracing;
use crate::format::frame::FrameKind;
use crate::format::layout::SEGMENT_HEADER_SIZE;
use crate::format::mark::Mark;
use crate::lsn::StreamId;
use crate::maintenance::thread::Maintenance;
use crate::marks::live::LiveMarks;
use crate::metrics::counters::Counters;
use crate::metrics::meters::Meters;
use crate::options::choices::Background;
use crate::options::settings::Options;
use crate::retention::cursors::CursorTable;
use crate::retention::room::RoomWaiters;
use crate::segment::file::Segment;
use crate::segment::frame_writer::{FrameWriter, NewFrame};
use crate::segment::live::LiveSegments;
use crate::segment::maker::WritesVia;
use crate::time::log_time::LogTime;
use highwater_disk::{DiskError, PAGE_SIZE, Raised, Reserver};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Ends the wait for the cohort when the clock does not move.
const MAX_YIELDS: u32 = 10_000;

/// Makes the log durable.
#[derive(Debug)]
pub(crate) struct Syncer {
    pub(crate) dir: PathBuf,
    pub(crate) options: Arc<Options>,
    pub(crate) commit: Arc<CommitState>,
    pub(crate) segments: Arc<LiveSegments>,
    pub(crate) writer: FrameWriter,
    pub(crate) maintenance: Arc<Maintenance>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) marks: Arc<LiveMarks>,
    pub(crate) cursors: Arc<CursorTable>,
    pub(crate) time: Arc<LogTime>,
    /// Durable-LSN records have a time: `LOG` names the feature.
    pub(crate) has_times: bool,
    pub(crate) room: Arc<RoomWaiters>,
    pub(crate) idle: Arc<IdleSignal>,
    /// If the log ends here, only a durable-LSN record is not yet durable. Syncing that is not
    /// worth a flush.
    pub(crate) idle_end: AtomicU64,
    /// The durable LSN that was last written to the control file.
    pub(crate) recorded: AtomicU64,
}

/// What a leader makes durable: the complete ranges of each segment in order, and the durable LSN
/// after that.
struct Group {
    ranges: Vec<(Arc<Segment>, Range<u64>)>,
    end: u64,
}

impl Group {
    fn size(&self) -> u64 {
        self.ranges
            .iter()
            .map(|(_, range)| range.end - range.start)
            .sum()
    }
}

/// What is appended after a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    DurableLsn,
    /// Nothing: the group was a durable-LSN record.
    Nothing,
}

impl Syncer {
    /// Everything appended before the call becomes durable.
    pub(crate) fn sync_all(&self) -> Result<()> {
        self.append_cursors();
        let end = self.segments.end();
        if end == self.idle_end.load(Ordering::Acquire) {
            return self.commit.check();
        }
        self.sync_until(end)
    }

    /// Returns once everything below `until`, a position that was handed out, is durable.
    pub(crate) fn sync_until(&self, until: u64) -> Result<()> {
        self.sync_until_and(until, After::DurableLsn)
    }

    /// As [`Self::sync_until`], for callers that ask for a position. If only the durable-LSN record
    /// of the last group is missing, none follows it: asking again and again would never end
    /// otherwise.
    pub(crate) fn sync_below(&self, until: u64) -> Result<()> {
        let after = match until == self.idle_end.load(Ordering::Acquire) {
            true => After::Nothing,
            false => After::DurableLsn,
        };
        self.sync_until_and(until, after)
    }

    /// Makes the last durable-LSN record durable, which ordinarily is left to the next group: the
    /// log is idle.
    pub(crate) fn sync_idle(&self) -> Result<()> {
        let end = self.segments.end();
        if end != self.idle_end.load(Ordering::Acquire) {
            return Ok(());
        }
        self.sync_until_and(end, After::Nothing)
    }

    fn sync_until_and(&self, until: u64, after: After) -> Result<()> {
        if self.commit.durable() >= until {
            return Ok(());
        }
        let _urgent = self.raise();
        let group_commit = &self.commit.group_commit;
        group_commit.make_durable(
            until,
            || self.commit.check(),
            |leader| self.lead(leader, after),
        )
    }

    /// As long as the result lives, the calling thread has the priority of committers.
    fn raise(&self) -> Option<Raised> {
        match self.options.committer_priority.raise() {
            Ok(raised) => raised,
            Err(error) => {
                tracing::debug!(%error, "the priority of a committing thread cannot be raised");
                None
            }
        }
    }

    /// One group, by the thread that leads. Errors go to the poison, where every waiter finds them.
    fn lead(&self, leader: Leader<'_>, after: After) {
        let mut leading = Leading {
            syncer: self,
            leader: Some(leader),
        };
        if let Some(leader) = &mut leading.leader {
            self.await_cohort(leader);
            if let Err((path, offset, source)) = self.commit_group(leader, after) {
                self.commit.poison(&path, offset, source);
            }
        }
    }

    /// Syncs in the order of the log, then publishes, then appends the proof. Nothing else in the
    /// log acknowledges.
    fn commit_group(
        &self,
        leader: &mut Leader<'_>,
        after: After,
    ) -> std::result::Result<(), (PathBuf, u64, io::Error)> {
        self.append_cursors();
        let commit = &self.commit;
        let arrivals = commit.group_commit.arrivals();
        let group =
            self.complete_group(self.writer.pad(&self.segments.tail()).unwrap_or(u64::MAX))?;
        leader.close_group(group.end, arrivals);
        if self.options.faults.acknowledge_before_sync() {
            leader.publish(group.end);
            return Ok(());
        }
        self.options
            .faults
            .before_sync(|| commit.group_commit.waiting());
        let start = self.options.clock.now();
        for (segment, range) in &group.ranges {
            let longest = self.options.longest_write;
            for piece in pieces(segment.writes_via(), longest, range.clone()) {
                let start = piece.start;
                let synced = segment.map().sync(piece);
                // It was mapped under another name.
                let synced = synced.map_err(|e| DiskError::about(e, &segment.path));
                synced.map_err(|e| (segment.path.clone(), start, e))?;
            }
        }
        leader.publish(group.end);
        self.marks.settle(group.end);
        self.cursors.settle(group.end);
        let now = self.options.clock.now();
        let took = now.saturating_sub(start);
        self.counters.sync.record(took);
        self.meters.group(took, &self.dir);
        if after == After::DurableLsn {
            self.append_durable_lsn(group.end, now);
            self.idle.committed();
        }
        self.maintenance.committed(group.end, group.size());
        self.record_progress(group.end);
        self.counters.group();
        Ok(()) // the waiters are woken when the lead is given back
    }

    /// Everything below `limit` that is complete and not yet durable.
    fn complete_group(&self, limit: u64) -> std::result::Result<Group, (PathBuf, u64, io::Error)> {
        let durable = self.commit.durable();
        let mut group = Group {
            ranges: Vec::new(),
            end: durable,
        };
        for segment in self.segments.since(durable) {
            if segment.end() <= durable || segment.base >= limit {
                continue;
            }
            let complete = segment.map().complete_prefix().map_err(|e| {
                (
                    segment.path.clone(),
                    segment.map().complete(),
                    io::Error::other(e),
                )
            })?;
            let start = durable
                .saturating_sub(segment.base)
                .max(SEGMENT_HEADER_SIZE);
            let complete = complete.min(limit - segment.base);
            group.end = segment.base + complete;
            if start < complete {
                group.ranges.push((segment, start..complete));
            }
        }
        Ok(group)
    }

    /// Appends a durable-LSN record: proof for recovery that everything below `durable` was. The
    /// next sync carries it. The log can do without: it is left out if the tail is full or closed.
    /// It says what time it is by the monotonic clock at `now`.
    pub(crate) fn append_durable_lsn(&self, durable: u64, now: Duration) {
        let mut payload = [0; 16];
        let (position, time) = payload.split_at_mut(8);
        position.copy_from_slice(&durable.to_le_bytes());
        let (kind, said) = match self.has_times {
            true => {
                time.copy_from_slice(&self.time.at_ms(now).to_le_bytes());
                (FrameKind::DurableAt, &payload[..])
            }
            false => (FrameKind::DurableLsn, &*position),
        };
        let frame = NewFrame::new(kind.into(), StreamId::DEFAULT, said);
        let tail = self.segments.tail();
        match self.writer.append(&frame, &tail, Reserver::Appender) {
            Ok((start, end)) if start == durable => self.idle_end.store(end, Ordering::Release),
            _ => {}
        }
    }

    /// Appends the positions of cursors that are in memory only: this group carries them. One for
    /// which the segment has no room waits for the next.
    fn append_cursors(&self) {
        if !self.cursors.is_dirty() {
            return;
        }
        let Some(_alone) = self.cursors.try_alone() else {
            return;
        };
        for (name, position) in self.cursors.take_dirty() {
            let mark = Mark::Cursor {
                name: Arc::clone(&name),
                position: Some(position),
            };
            let payload = mark.encode();
            let frame = NewFrame::new(mark.kind().into(), StreamId::DEFAULT, &payload);
            let beginning = self.marks.begin(self.segments.end());
            let tail = self.segments.tail();
            match self.writer.append(&frame, &tail, Reserver::Appender) {
                Ok((_, end)) => {
                    beginning.record(mark, end);
                    self.cursors.logged(&name, position, end);
                }
                Err(_) => self.cursors.set_dirty(),
            }
        }
    }

    /// Recovery reads the log from the position in the control file on: moving that every few MiB
    /// keeps it short.
    fn record_progress(&self, durable: u64) {
        // Relaxed, also below: it decides only when the next write is due.
        let recorded = self.recorded.load(Ordering::Relaxed);
        if durable - recorded >= self.options.progress_interval {
            self.recorded.store(durable, Ordering::Relaxed);
            self.maintenance.record_progress(durable);
        }
    }

    /// The position in the control file, or one that is to be written there: a frame starts or ends
    /// there, and everything below is durable.
    pub(crate) fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Acquire)
    }

    /// The same for an idle log, however short it is.
    pub(crate) fn record_end(&self) {
        let end = self.commit.durable();
        if self.recorded.fetch_max(end, Ordering::Relaxed) < end {
            self.maintenance.record_progress(end);
        }
    }

    /// Waits a bounded moment for the producers that the last group released: they are about to
    /// come back.
    fn await_cohort(&self, leader: &Leader<'_>) {
        let wait = self.options.group_commit_wait;
        if wait.is_zero() || self.options.background == Background::Inline {
            return;
        }
        let complete = || self.commit.group_commit.arrivals() >= leader.cohort();
        if complete() {
            return;
        }
        let start = self.options.clock.now();
        for _ in 0..MAX_YIELDS {
            if complete() || self.options.clock.now().saturating_sub(start) >= wait {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// The writes that make `range` durable, one after the other. No direct write is longer than
/// `longest`, so that recovery knows how far after the end of the log it has to look.
fn pieces(stores: WritesVia, longest: u64, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let longest = match stores {
        WritesVia::PageCache => u64::MAX,
        WritesVia::Direct => longest,
    };
    let mut start = range.start;
    std::iter::from_fn(move || {
        // Each but the last ends with a page: the next one need not write that page again.
        let limit = start.saturating_add(longest) / PAGE_SIZE * PAGE_SIZE;
        let piece = start..range.end.min(limit);
        start = piece.end;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Gives the lead back, whatever happens. A leader that unwinds poisons the log: what it synced is
/// not known.
struct Leading<'a> {
    syncer: &'a Syncer,
    leader: Option<Leader<'a>>,
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let commit = &self.syncer.commit;
        if std::thread::panicking() {
            let durable = commit.durable();
            let (path, offset) = match self.syncer.segments.containing(durable) {
                Some(segment) => (segment.path.clone(), durable - segment.base),
                None => (self.syncer.dir.clone(), 0),
            };
            let source = io::Error::other("the thread that synced panicked");
            commit.poison(&path, offset, source);
            if let Some(leader) = &mut self.leader {
                leader.fail();
            }
        }
        drop(self.leader.take());
        commit.wake();
        if commit.is_poisoned() {
            self.syncer.room.notify();
            self.syncer.maintenance.turn().wake();
        }
    }
}
