//! Salvage: a new log of everything intact that is left, around the holes.

use crate::control::file;
use crate::error::{Result, WalError};
use crate::format::frame::LogKey;
use crate::inspect::dump::DumpedFrame;
use crate::inspect::log::Progress;
use crate::lsn::Lsn;
use crate::repair::lost::{Losses, LostRange};
use crate::repair::marks::SavedMarks;
use crate::repair::rebuild::Rebuild;
use crate::repair::repair::{check_copy, places};
use crate::repair::scan::{Salvage, SalvageScanner};
use crate::repair::source::Source;
use highwater_disk::Disk;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

/// What [`salvage`] did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Salvaged {
    /// Identity of the old log.
    pub old_log_id: u128,
    /// Identity of the new one: no checkpoint and no position of the old log fits it.
    pub new_log_id: u128,
    /// Where the old log started.
    pub first_lsn: Lsn,
    /// The end of the last intact frame of the old log.
    pub end_lsn: Lsn,
    /// Frames appended to the new log.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Holes that were durable once.
    pub lost: Losses,
    /// Holes that nothing proves to have been durable: what a crash tore. It was never
    /// acknowledged. What is intact after them was taken all the same.
    pub torn: Losses,
    /// What was wrong with files as such; by itself it costs no record.
    pub findings: Vec<WalError>,
    /// Names in the directory that are not the log's.
    pub ignored: Vec<OsString>,
}

/// One frame that was saved.
#[derive(Debug)]
#[non_exhaustive]
pub struct Moved<'a> {
    /// The frame as it was in the old log.
    pub frame: &'a DumpedFrame,
    /// Where it starts in the new one.
    pub new_lsn: Lsn,
}

/// Appends every intact frame with records that is left of the log in `from`, in order, to a new
/// log in `to`. Never changes `from`. The log never calls it by itself: a caller accepts holes in
/// the history.
///
/// Frames get new LSNs, because the format has no place for holes; `moved` gets each pair.
/// Batches stay batches, streams and kinds stay. The new log has an identity of its own, so that
/// nothing takes it for the old one. Until all is written it is no log. The result was verified.
///
/// ```
/// use highwater_wal::{disk::{Disk, OsDisk}, inspect};
/// use std::sync::Arc;
/// # let dir = tempfile::tempdir()?;
/// # let small = highwater_wal::Options::new().segment_size(64 << 10);
/// # let log = highwater_wal::Wal::open_with(dir.path().join("log"), small)?;
/// # let _ = log.append_batch(&["one", "two"])?;
/// # log.close()?;
/// # drop(log);
/// let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
/// let (old, new) = (dir.path().join("log"), dir.path().join("new"));
/// let moved = |moved: &inspect::Moved<'_>| {
///     println!("{} is at {} now", moved.frame.lsn, moved.new_lsn);
///     Ok(())
/// };
/// let salvaged = inspect::salvage(&disk, old, new, moved, |_| ())?;
/// assert_eq!(salvaged.records, 2);
/// assert_ne!(salvaged.new_log_id, salvaged.old_log_id);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`repair`](crate::inspect::repair).
pub fn salvage(
    disk: &Arc<dyn Disk>,
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    mut moved: impl FnMut(&Moved<'_>) -> Result<()>,
    mut progress: impl FnMut(Progress),
) -> Result<Salvaged> {
    let (from, to) = &places(&**disk, from.as_ref(), to.as_ref())?;
    let source = Source::open(disk, from)?;
    let marks = SavedMarks::read(&source)?;
    let mut cursors = marks.cursors();
    let mut new = begin(&source, to)?;
    let new_log_id = new.log_id();
    let bytes_total = source.candidates.iter().map(|part| part.file.size).sum();
    let mut holes = Holes::default();
    let (mut frames, mut records) = (0, 0);
    let mut proven = source.proven_lsn;
    let mut scan = SalvageScanner::new(&source);
    while let Some(step) = scan.step()? {
        let frame = match step {
            Salvage::Hole(hole) => {
                holes.add(hole);
                continue;
            }
            Salvage::Frame(frame) => frame,
        };
        if let Some(proof) = frame.proven() {
            proven = proven.max(proof);
            holes.prove(proven);
        }
        progress(Progress {
            bytes_done: frame.lsn() - source.first_lsn,
            bytes_total,
        });
        if !frame.header().kind.holds_records() || marks.is_void(&frame) {
            continue; // one of the log's own, or taken back
        }
        let dumped = match DumpedFrame::new(&frame.file, &frame.found, frame.payload()) {
            Ok(dumped) => dumped,
            Err(what) => {
                holes.proven.add(frame.lost(what));
                continue;
            }
        };
        frames += 1;
        records += dumped.records().len() as u64;
        let new_lsn = new.append(frame.header(), frame.payload())?;
        cursors.pass(frame.lsn(), new_lsn.get());
        moved(&Moved {
            frame: &dumped,
            new_lsn,
        })?;
    }
    holes.finish(proven, scan.end_hole(proven));
    new.set_marks(cursors.finish(new.position()));
    let _end = new.finish(0)?;
    check_copy(disk, to)?;
    let end_lsn = Lsn::new(scan.position());
    Ok(Salvaged {
        old_log_id: source.key.id,
        new_log_id,
        first_lsn: Lsn::new(source.first_lsn),
        end_lsn,
        frames,
        records,
        lost: holes.proven,
        torn: holes.unproven,
        findings: source.findings,
        ignored: source.ignored,
    })
}

/// Holes, by whether what was there is known to have been durable.
#[derive(Debug, Default)]
struct Holes {
    proven: Losses,
    /// Those after everything proven so far.
    unproven: Losses,
}

impl Holes {
    fn add(&mut self, hole: LostRange) {
        match hole.broken {
            true => self.proven.add(hole),
            false => self.unproven.add(hole),
        }
    }

    /// Everything below `proven` was durable.
    fn prove(&mut self, proven: u64) {
        let proven = |hole: &LostRange| hole.from.get() < proven;
        if self.unproven.ranges.first().is_some_and(proven) {
            self.unproven.split_into(proven, &mut self.proven);
        }
    }

    /// The scan is over: what is missing at its end counts unless it is the torn end itself.
    fn finish(&mut self, proven: u64, end: Option<LostRange>) {
        self.prove(proven);
        if let Some(end) = end.filter(|end| end.broken || self.unproven.is_empty()) {
            self.proven.add(end);
        }
    }
}

/// A log with segments as large as the largest of the old one.
fn begin<'a>(source: &'a Source, to: &'a Path) -> Result<Rebuild<'a>> {
    let key = LogKey::new(file::fresh_log_id(None));
    let mut new = Rebuild::begin(&source.disk, to, key)?;
    new.segment(0, source.largest())?;
    Ok(new)
}
