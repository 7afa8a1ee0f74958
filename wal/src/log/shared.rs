//! What the handle, the readers and the threads of an open log share; and appending.

use crate::background::turn::Turn;
use crate::commit::flusher::Flusher;
use crate::commit::state::CommitState;
use crate::commit::sync::Syncer;
use crate::control::writer::ControlFileWriter;
use crate::error::{Result, WalError};
use crate::facade::tracing;
use crate::format::compression::BatchCompressor;
use crate::format::frame::LogKey;
use crate::lsn::Lsn;
use crate::maintenance::thread::Maintenance;
use crate::marks::live::LiveMarks;
use crate::metrics::counters::Counters;
use crate::metrics::meters::Meters;
use crate::options::choices::Background;
use crate::options::settings::Options;
use crate::recovery::cases::Recovery;
use crate::retention::budget::{AdmissionClass, Budget};
use crate::retention::cursors::CursorTable;
use crate::retention::guard::Retention;
use crate::retention::room::RoomWaiters;
use crate::segment::file::Segment;
use crate::segment::frame_writer::{FrameWriter, NewFrame};
use crate::segment::live::LiveSegments;
use crate::segment::maker::WritesVia;
use crate::time::log_time::LogTime;
use highwater_disk::{DirLock, ReserveError};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// So many segments may be appended to through the page cache before the first of them is synced.
const MOST_UNSYNCED: usize = 64;

/// Whether an append may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Waits,
    Never,
}

/// Why nothing was appended.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The segment is full, and everything below this position has to be durable before the next
    /// one is begun. Only without patience.
    Unsynced(u64),
    /// The next segment is being made, or another thread goes on to it. Only without patience.
    Turn,
    Error(WalError),
}

impl From<WalError> for Refused {
    fn from(error: WalError) -> Self {
        Self::Error(error)
    }
}

impl Refused {
    pub(crate) fn into_error(self) -> WalError {
        let what = match self {
            Self::Error(error) => return error,
            Self::Unsynced(_) => "the segment is full, and too much before it is not durable",
            Self::Turn => "the segment is full, and the next one is not ready",
        };
        WalError::WouldWait { what }
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) options: Arc<Options>,
    pub(crate) max_record: usize,
    /// What readers are called in [`LogHold`](crate::LogHold).
    pub(crate) reader_name: Arc<str>,
    pub(crate) key: LogKey,
    pub(crate) compressor: BatchCompressor,
    pub(crate) writer: FrameWriter,
    pub(crate) segments: Arc<LiveSegments>,
    /// Every append but the closer's is refused. Set, once, with `rotation` locked.
    pub(crate) is_shut: AtomicBool,
    /// Serialises going to the next segment.
    pub(crate) rotation: Mutex<()>,
    pub(crate) maintenance: Arc<Maintenance>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) control: Arc<ControlFileWriter>,
    pub(crate) commit: Arc<CommitState>,
    pub(crate) syncer: Arc<Syncer>,
    pub(crate) flusher: Arc<Flusher>,
    pub(crate) retention: Arc<Retention>,
    pub(crate) marks: Arc<LiveMarks>,
    pub(crate) cursors: Arc<CursorTable>,
    pub(crate) time: Arc<LogTime>,
    /// It was said that the clock has jumped.
    pub(crate) has_warned_of_jump: AtomicBool,
    pub(crate) room: Arc<RoomWaiters>,
    /// Tasks that wait until the log can go to its next segment.
    pub(crate) turn: Arc<Turn>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) recovery: Recovery,
    pub(crate) lock: Mutex<Option<DirLock>>,
    /// Locked while the log is closed or truncated.
    pub(crate) is_closed: Mutex<bool>,
    /// Files of truncated segments that could not be removed, and their sizes. They are tried again
    /// at the next truncation.
    pub(crate) leftovers: Mutex<Vec<(PathBuf, u64)>>,
}

impl Shared {
    /// Refuses a record or batch of `size` bytes that is over the limit.
    pub(crate) fn check_size(&self, size: usize) -> Result<()> {
        match size > self.max_record {
            true => Err(self.options.too_large(size)),
            false => Ok(()),
        }
    }

    /// Appends one frame and returns where it starts and ends. Waits if it must.
    pub(crate) fn append(&self, class: AdmissionClass, frame: &NewFrame<'_>) -> Result<(u64, u64)> {
        let appended = self.append_as(class, frame, Patience::Waits);
        appended.map_err(Refused::into_error)
    }

    /// Appends one frame and returns where it starts and ends.
    pub(crate) fn append_as(
        &self,
        class: AdmissionClass,
        frame: &NewFrame<'_>,
        patience: Patience,
    ) -> std::result::Result<(u64, u64), Refused> {
        self.append_with(class, frame.size(), patience, |tail| {
            self.writer.append(frame, tail, class.reserver())
        })
    }

    /// Appends what `place` puts into the segment that it is given, and takes `size` bytes there.
    /// Returns where it starts and ends. Takes no lock unless the segment is full.
    pub(crate) fn append_with(
        &self,
        class: AdmissionClass,
        size: u64,
        patience: Patience,
        mut place: impl FnMut(&Segment) -> std::result::Result<(u64, u64), ReserveError>,
    ) -> std::result::Result<(u64, u64), Refused> {
        loop {
            self.commit.check()?;
            let full = {
                let tail = self.segments.tail();
                // Only after the tail is loaded: that it is the reserve was counted before it
                // became the tail.
                self.admit(class, &tail)?;
                match place(&tail) {
                    Ok((start, end)) => {
                        // The others that commit see it: see `Maintenance::committed`.
                        let middle = tail.middle();
                        if start < middle && end >= middle {
                            self.maintenance.half_full(end);
                        }
                        return Ok((start, end));
                    }
                    Err(ReserveError::Closed) => return Err(self.commit.closed_error().into()),
                    Err(ReserveError::Full) => tail.base,
                }
            };
            self.rotate(full, size, class, patience)?;
        }
    }

    /// Refuses what may not be appended to `tail`, which was loaded before.
    fn admit(&self, class: AdmissionClass, tail: &Segment) -> Result<()> {
        // `reserved` is a line that all appenders write: it is not read without need.
        if self.budget.admits()
            || self
                .budget
                .admits_to_reserve(class, tail.map().reserved(), tail.size)
        {
            return Ok(());
        }
        match class {
            AdmissionClass::Ordinary if self.is_shut() => Err(self.commit.closed_error()),
            _ => Err(self.explain(self.budget.full(&self.dir))),
        }
    }

    /// Refuses another segment of `size` bytes, if only the reserve is left: to ordinary records,
    /// and to the close frame if that would use up more than half.
    fn admit_another(&self, class: AdmissionClass, size: u64) -> Result<()> {
        let half = self.options.records_room() / 2;
        let allowed = match class {
            AdmissionClass::Ordinary => false,
            AdmissionClass::Reserve => true,
            AdmissionClass::CloseFrame => {
                self.options.seal_groups <= half.saturating_sub(self.options.end_room())
            }
        };
        match allowed || self.budget.admits_another(size) {
            true => Ok(()),
            false => Err(self.explain(self.budget.full(&self.dir))),
        }
    }

    /// Adds to an error about the bound what is in the way.
    fn explain(&self, error: WalError) -> WalError {
        let (tail, end) = (self.segments.tail().base, self.segments.end());
        error.held_by(|| self.retention.oldest_holder(tail, end))
    }

    /// Refuses every append from now on, but those of the closer.
    pub(crate) fn shut(&self) {
        let _alone = self.rotation.lock();
        self.is_shut.store(true, Ordering::Release);
        self.segments.tail().map().close();
    }

    /// Whether every append but the closer's is refused.
    pub(crate) fn is_shut(&self) -> bool {
        self.is_shut.load(Ordering::Acquire)
    }

    /// Goes to the next segment, unless another thread already left the one at `full`. A frame of
    /// `needed` bytes is to fit there. If it does not, because the segment was made before, the log
    /// goes on to the one after it.
    fn rotate(
        &self,
        full: u64,
        needed: u64,
        class: AdmissionClass,
        patience: Patience,
    ) -> std::result::Result<(), Refused> {
        self.bound_unsynced(full, patience)?;
        let alone = match patience {
            Patience::Waits => self.rotation.lock(),
            Patience::Never => self.rotation.try_lock().ok_or(Refused::Turn)?,
        };
        let old = Arc::clone(&self.segments.tail());
        if old.base != full {
            return Ok(());
        }
        let closed = self.is_shut();
        if closed && class != AdmissionClass::CloseFrame {
            return Err(self.commit.closed_error().into());
        }
        let needed = self.options.segment_for(needed);
        let shape = self.maintenance.next_shape(&old, needed);
        self.admit_another(class, shape.size)?;
        // Its name is durable before the seal exists: a sealed last segment therefore means that
        // one is missing.
        let next = match patience {
            Patience::Waits => self.maintenance.take_segment(shape).map(Some),
            Patience::Never => self.maintenance.try_take_segment(shape),
        };
        let next = next.map_err(|e| self.explain(e))?.ok_or(Refused::Turn)?;
        if closed {
            next.map().close();
        }
        self.writer.seal(&old);
        // Before appenders can load it: see `admit`.
        self.budget.hold(next.size);
        let released = self.segments.push(Arc::clone(&next), self.commit.durable());
        self.maintenance.rotated(&next, released);
        self.meters.publish(&self.stats());
        drop(alone);
        self.turn.wake();
        Ok(())
    }

    /// With direct writes, what is appended and not synced stays in memory of the process: two
    /// segments of it at most. The thread that fills the second before the first is durable syncs
    /// it. In the page cache the file must stay open until its errors are known, and a process may
    /// open only so many: [`MOST_UNSYNCED`].
    fn bound_unsynced(&self, full: u64, patience: Patience) -> std::result::Result<(), Refused> {
        let Some(segment) = self.segments.containing(full) else {
            return Ok(());
        };
        let durable = self.commit.durable();
        if durable >= full {
            return Ok(());
        }
        let unsynced = self.segments.count(durable, full);
        match (segment.writes_via(), patience) {
            (WritesVia::PageCache, _) if unsynced < MOST_UNSYNCED => Ok(()),
            (_, Patience::Never) if self.options.background != Background::Inline => {
                Err(Refused::Unsynced(full))
            }
            _ => Ok(self.syncer.sync_until(full)?),
        }
    }

    /// Refuses positions below which not everything is durable.
    pub(crate) fn check_durable(&self, lsn: Lsn) -> Result<()> {
        let durable = Lsn::new(self.commit.durable());
        if lsn <= durable {
            return Ok(());
        }
        self.segments.check_not_beyond(lsn)?;
        Err(WalError::NotDurable {
            asked: lsn,
            durable,
            end: Lsn::new(self.segments.end()),
        })
    }

    /// Counts and reports that reading failed.
    #[cold]
    pub(crate) fn reading_failed(&self, error: WalError) -> WalError {
        tracing::error!(dir = %self.dir.display(), %error, "reading the log failed");
        self.meters.read_failed();
        error
    }
}
