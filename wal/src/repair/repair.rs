//! Repair: a new log that holds everything up to the first damage, at its old LSNs.

use crate::error::{Result, WalError};
use crate::format::layout::{MIN_SEGMENT_SIZE, SEGMENT_HEADER_SIZE};
use crate::inspect::dump::records_in;
use crate::inspect::log::{Log, Progress};
use crate::lsn::Lsn;
use crate::recovery::fitness::resolve;
use crate::repair::lost::{Losses, LostRange};
use crate::repair::marks::SavedMarks;
use crate::repair::rebuild::Rebuild;
use crate::repair::scan::{Salvage, SalvageScanner};
use crate::repair::source::Source;
use highwater_disk::Disk;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What [`repair`] did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Repaired {
    /// Identity of both logs.
    pub log_id: u128,
    /// Where both start.
    pub first_lsn: Lsn,
    /// Everything below this was kept, and nothing from here on.
    pub kept_until: Lsn,
    /// Where the new log goes on: after every LSN that is known to have been used.
    pub end_lsn: Lsn,
    /// Frames kept.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// What was durable and is not in the new log; empty if nothing is lost. The first range starts
    /// at `kept_until`.
    pub lost: Losses,
    /// Intact frames after that: [`salvage`](crate::inspect::salvage) gets them.
    pub frames_after: u64,
    /// Records in them.
    pub records_after: u64,
    /// What was wrong with files as such; by itself it costs no record.
    pub findings: Vec<WalError>,
    /// Names in the directory that are not the log's. They were not copied.
    pub ignored: Vec<OsString>,
}

/// What a first pass finds out.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) cut: u64,
    /// After every LSN that is known to have been used.
    used: u64,
    pub(crate) frames: u64,
    pub(crate) records: u64,
    pub(crate) frames_after: u64,
    pub(crate) records_after: u64,
    pub(crate) lost: Losses,
    /// Every place without an intact frame that something follows.
    pub(crate) holes: Losses,
}

/// Writes everything of the log in `from` that is before its first damage into a new log in `to`,
/// at the same LSNs and with the same identity, so that checkpoints of the old one fit. Never
/// changes `from`.
///
/// What is kept is what recovery could prove: the frames from the start of the log on, up to the
/// first place at which none is intact. Damage of `LOG` and of segment headers costs nothing if the
/// frames are intact: both are written again. If durable records are lost, the LSNs that they had
/// are skipped, so that no LSN gets a second meaning; reading from one of them is an error.
///
/// `progress` is called now and then, in two passes over the log. The result was verified.
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
/// let repaired = inspect::repair(&disk, old, &new, |_| ())?;
/// for lost in &repaired.lost.ranges {
///     println!("lost from {} on: {}", lost.from, lost.what);
/// }
/// assert_eq!(repaired.records, 2);
/// assert!(inspect::Log::open(disk, new)?.verify(|_| ())?.is_ok());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`WalError::Locked`] if `from` is open somewhere; [`WalError::BadDirectory`] if `to` is not
/// empty or lies inside `from`, or if it is unknown which log `from` is; [`WalError::NewerFormat`],
/// and [`WalError::Corrupt`] with [`Finding::UnknownFeature`](crate::Finding::UnknownFeature), if a
/// newer version wrote it; [`WalError::Io`].
pub fn repair(
    disk: &Arc<dyn Disk>,
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    mut progress: impl FnMut(Progress),
) -> Result<Repaired> {
    let (from, to) = &places(&**disk, from.as_ref(), to.as_ref())?;
    let source = Source::open(disk, from)?;
    let bytes_total = 2 * source
        .candidates
        .iter()
        .map(|part| part.file.size)
        .sum::<u64>();
    let mut report = |bytes_done| {
        progress(Progress {
            bytes_done,
            bytes_total,
        });
    };
    let survey = survey(&source, &mut report)?;
    let end_lsn = copy(&source, to, &survey, &mut report)?;
    check_copy(disk, to)?;
    let Survey { lost, cut, .. } = survey;
    Ok(Repaired {
        log_id: source.key.id,
        first_lsn: Lsn::new(source.first_lsn),
        kept_until: Lsn::new(cut),
        end_lsn,
        frames: survey.frames,
        records: survey.records,
        lost,
        frames_after: survey.frames_after,
        records_after: survey.records_after,
        findings: source.findings,
        ignored: source.ignored,
    })
}

/// Reads what was written.
pub(crate) fn check_copy(disk: &Arc<dyn Disk>, to: &Path) -> Result<()> {
    let copied = Log::open(Arc::clone(disk), to)?.verify(|_| ())?;
    copied.findings.into_iter().next().map_or(Ok(()), Err)
}

/// Both directories from the root on. Refuses to write into the log that is to be read.
pub(crate) fn places(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(PathBuf, PathBuf)> {
    let (from, to) = (resolve(disk, from)?, resolve(disk, to)?);
    if to.starts_with(&from) || from.starts_with(&to) {
        return Err(WalError::no_log(
            &to,
            "the new log must lie outside of the old one, and the old one outside of it",
        ));
    }
    Ok((from, to))
}

pub(crate) fn survey(source: &Source, progress: &mut impl FnMut(u64)) -> Result<Survey> {
    let mut scan = SalvageScanner::new(source);
    let mut first: Option<LostRange> = None;
    let mut broken = false;
    let mut found = Survey {
        cut: 0,
        used: source.proven_lsn,
        frames: 0,
        records: 0,
        frames_after: 0,
        records_after: 0,
        lost: Losses::default(),
        holes: Losses::default(),
    };
    let mut proven = source.proven_lsn;
    while let Some(step) = scan.step()? {
        match step {
            // Nothing after the first hole is kept: only the extent of the damage matters.
            Salvage::Hole(hole) => {
                broken |= hole.broken;
                found.holes.add(hole.clone());
                first.get_or_insert(hole);
            }
            Salvage::Frame(frame) => {
                let records = records_in(frame.header(), frame.payload()).unwrap_or(0);
                let (frames, sum) = if first.is_none() {
                    (&mut found.frames, &mut found.records)
                } else {
                    (&mut found.frames_after, &mut found.records_after)
                };
                *frames += 1;
                *sum += records;
                proven = proven.max(frame.proven().unwrap_or(0));
                progress(frame.lsn() - source.first_lsn);
            }
        }
    }
    let end = scan.end_hole(proven);
    end.iter().for_each(|hole| found.holes.add(hole.clone()));
    // A segment, where it is unknown how far the log went.
    let end_to = end.as_ref().map_or(0, |end| match end.to {
        Some(to) => to.get(),
        None => end.from.get().saturating_add(source.usual_size()),
    });
    found.used = found.used.max(scan.position()).max(end_to);
    found.cut = scan.position();
    match (first, end) {
        // Everything from there on goes, intact or not.
        (Some(hole), end) if hole.from.get() < proven || broken || end.is_some() => {
            found.cut = hole.from.get();
            found.lost.add(LostRange {
                to: end.map_or(Some(Lsn::new(found.used)), |end| end.to),
                ..hole
            });
        }
        // What a crash tore: recovery ends here too, and nothing that was acknowledged goes.
        (Some(hole), _) => found.cut = hole.from.get(),
        (None, Some(end)) => {
            found.cut = end.from.get();
            found.lost.add(end);
        }
        (None, None) => {}
    }
    Ok(found)
}

fn copy(
    source: &Source,
    to: &Path,
    survey: &Survey,
    progress: &mut impl FnMut(u64),
) -> Result<Lsn> {
    let mut new = Rebuild::begin(&source.disk, to, source.key)?;
    new.start_at(source.first_lsn);
    let mut marks = SavedMarks::new(source);
    let mut scan = SalvageScanner::new(source);
    let half: u64 = source.candidates.iter().map(|part| part.file.size).sum();
    while let Some(Salvage::Frame(frame)) = scan.step()? {
        if frame.lsn() >= survey.cut {
            break;
        }
        if !new.is_at(frame.file.base) {
            new.segment(frame.file.base, frame.file.size)?;
        }
        new.frame(frame.lsn(), frame.header().kind, &frame.raw)?;
        marks.pass(&frame);
        progress(half + frame.lsn() - source.first_lsn);
    }
    if !survey.lost.is_empty() {
        new.skip(survey.used)?;
    }
    // The log goes on in the segment of the last frame, unless that is sealed, or after what is
    // lost.
    let goes_on = survey.lost.is_empty() && new.end() > survey.cut;
    if !goes_on {
        let base = new.end();
        let size = source.usual_size().max(MIN_SEGMENT_SIZE);
        new.segment(base, size)?;
        debug_assert!(base + SEGMENT_HEADER_SIZE >= survey.cut);
    }
    let goes_on_at = new.position();
    new.set_marks(marks.with_gap(survey.cut, goes_on_at));
    new.finish(source.first_lsn)
}
