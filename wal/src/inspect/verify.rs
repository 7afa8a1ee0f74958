//! Checking every byte of a log, with all cores.

use crate::error::{Finding, Result, WalError};
use crate::format::frame::{FrameKind, durable_at_in};
use crate::format::layout::{FRAME_ALIGNMENT, SEGMENT_HEADER_SIZE};
use crate::inspect::dump::records_in;
use crate::inspect::log::{Log, Progress};
use crate::lsn::Lsn;
use crate::recovery::cases::Case;
use crate::segment::header::{SegmentFile, check_segment};
use crate::segment::list::{HeaderCheck, list_segments};
use crate::segment::scan::{Found, FoundFrame};
use crate::time::unix::from_ms;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::SystemTime;

/// Findings reported for one segment. With more than that, restoring the file is what helps.
const MAX_FINDINGS: usize = 1000;
const BROKEN: &str =
    "there is no intact frame here, but the log goes on after it; restore the file from a backup";

/// What [`Log::verify`] found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// Every damage, in the order of the log: errors that name file, offset and LSN.
    pub findings: Vec<WalError>,
    /// How the log ends, if its files are sound enough to know.
    pub tail: Option<Case>,
    /// Where it ends.
    pub end_lsn: Option<Lsn>,
    /// Everything below this is proven to have been durable.
    pub proven_lsn: Option<Lsn>,
    /// Frames that are intact.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What each segment holds, in order; those that cannot be used are left out.
    pub segments: Vec<SegmentUse>,
    /// Names in the directory that are not the log's.
    pub ignored: Vec<OsString>,
}

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SegmentUse {
    /// LSN of its first byte.
    pub base: Lsn,
    /// Frames that are intact.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes from the base to the end of the last intact frame, without the seal. 0 if there is
    /// none.
    pub used_bytes: u64,
    /// Whether a seal ends it.
    pub sealed: bool,
    /// The first and the last time that stand in it: when some of its records, or of those before
    /// it, were known to be durable.
    pub times: Option<(SystemTime, SystemTime)>,
}

/// What one segment adds to the report.
#[derive(Debug, Default)]
struct SegmentReport {
    findings: Vec<WalError>,
    /// The highest position that a frame of it proves to have been durable.
    proven: u64,
    holds: SegmentUse,
    bytes: u64,
}

impl SegmentReport {
    /// Of a segment of which nothing was read yet.
    fn of(segment: &SegmentFile) -> Self {
        Self {
            bytes: segment.size,
            holds: SegmentUse {
                base: Lsn::new(segment.base),
                ..SegmentUse::default()
            },
            ..Self::default()
        }
    }

    fn add(&mut self, segment: &SegmentFile, frame: &FoundFrame, payload: &[u8]) {
        self.holds.frames += 1;
        match records_in(&frame.header, payload) {
            Ok(records) => self.holds.records += records,
            Err(what) => {
                let bad = segment.corrupt(Finding::CorruptProven, frame.offset, what);
                self.findings.push(bad);
            }
        }
        self.proven = self.proven.max(frame.proven(payload).unwrap_or(0));
        if let Some((_, time)) = durable_at_in(frame.header.kind, payload) {
            let time = from_ms(time);
            let (first, _) = self.holds.times.unwrap_or((time, time));
            self.holds.times = Some((first, time));
        }
        match frame.header.kind {
            FrameKind::Seal => self.holds.sealed = true,
            _ => self.holds.used_bytes = frame.next,
        }
    }
}

impl Log {
    /// Reads the whole log and reports everything that is damaged. Segments are read by as many
    /// threads as there are cores, with a small buffer each. `progress` is called after every
    /// segment, on the calling thread.
    ///
    /// ```
    /// use highwater_wal::{disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_batch(&["one", "two"])?;
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// let report = log.verify(|progress| {
    ///     eprintln!("{} of {} bytes", progress.bytes_done, progress.bytes_total);
    /// })?;
    /// assert!(report.is_ok(), "{:?}", report.findings);
    /// assert_eq!(report.records, 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Io`] if something cannot be read; damage is no error but a finding.
    pub fn verify(&self, progress: impl FnMut(Progress)) -> Result<Report> {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.verify_with(cores, progress)
    }

    /// As [`Self::verify`], with this many threads.
    fn verify_with(&self, threads: usize, progress: impl FnMut(Progress)) -> Result<Report> {
        let look = |log: &Self| Ok((log.verify_files()?, log.meta.attested_lsn));
        let ((mut report, segments), attested) =
            self.when_stable(look, |((report, _), _)| report.is_ok())?;
        self.verify_segments(&segments, attested, threads, &mut report, progress)?;
        report.segments.sort_by_key(|segment| segment.base);
        report.findings.sort_by_key(|error| match error {
            WalError::Corrupt { lsn, .. } => *lsn,
            _ => Lsn::ZERO,
        });
        Ok(report)
    }

    /// Checks the files as such, and finds the end. Returns those that can be read, too.
    fn verify_files(&self) -> Result<(Report, Vec<SegmentFile>)> {
        let mut report = Report {
            findings: Vec::new(),
            tail: None,
            end_lsn: None,
            proven_lsn: None,
            frames: 0,
            records: 0,
            bytes: 0,
            segments: Vec::new(),
            ignored: self.listing.ignored.clone(),
        };
        if let Some(lone) = &self.lone {
            lone.shape().map_or(Ok(()), |wrong| report.add(wrong))?;
            return Ok((report, vec![lone.segment.clone()]));
        }
        let mut segments = Vec::new();
        let bases = self.listing.segments.iter().map(|(base, _)| *base);
        for base in bases.filter(|base| *base >= self.meta.first_lsn) {
            match check_segment(&*self.disk, &self.dir, base, self.meta.log_id) {
                Ok(segment) => segments.push(segment),
                Err(_) if self.is_truncated(base) => {}
                Err(error) => report.add(error)?,
            }
        }
        match list_segments(
            &*self.disk,
            &self.dir,
            &self.meta,
            &self.listing,
            HeaderCheck::All,
        ) {
            Ok(mut segments) => match self.find_end(&mut segments) {
                Ok(end) => {
                    let base = segments.get(end.segment).map_or(0, |segment| segment.base);
                    report.tail = Some(end.case);
                    report.end_lsn = Some(Lsn::new(base + end.offset));
                    report.proven_lsn = Some(Lsn::new(end.proven.min(base + end.offset)));
                }
                Err(error) => report.add(error)?,
            },
            Err(error) if report.findings.is_empty() => report.add(error)?,
            Err(_) => {} // already reported, segment by segment
        }
        Ok((report, segments))
    }

    fn verify_segments(
        &self,
        segments: &[SegmentFile],
        mut proven_lsn: u64,
        threads: usize,
        report: &mut Report,
        mut progress: impl FnMut(Progress),
    ) -> Result<()> {
        let bytes_total = segments.iter().map(|segment| segment.size).sum();
        let (next, end_lsn) = (AtomicUsize::new(0), report.end_lsn);
        let work = |parts: mpsc::Sender<Result<SegmentReport>>| {
            // After an error the receiver is gone: the others notice when they send.
            while let Some(segment) = segments.get(next.fetch_add(1, Ordering::Relaxed)) {
                if parts.send(self.verify_if_there(segment, end_lsn)).is_err() {
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            let (sender, parts) = mpsc::channel();
            for _ in 0..threads.min(segments.len()) {
                let (sender, work) = (sender.clone(), &work);
                scope.spawn(move || work(sender));
            }
            drop(sender);
            let mut findings = Vec::new();
            for part in parts {
                let part = part?;
                proven_lsn = proven_lsn.max(part.proven);
                findings.extend(part.findings);
                report.frames += part.holds.frames;
                report.records += part.holds.records;
                report.segments.push(part.holds);
                report.bytes += part.bytes;
                progress(Progress {
                    bytes_done: report.bytes,
                    bytes_total,
                });
            }
            if self.lone.is_some() {
                report.proven_lsn = Some(Lsn::new(proven_lsn));
            }
            // After everything proven, a place without a frame is the end of the log or what a
            // crash tore.
            let proven = |error: &WalError| match error {
                WalError::Corrupt { finding, lsn, .. } => {
                    *finding == Finding::UnknownFeature
                        || end_lsn.is_some()
                        || lsn.get() < proven_lsn
                }
                _ => true,
            };
            findings
                .into_iter()
                .filter(proven)
                .try_for_each(|error| report.add(error))
        })
    }

    /// Verifies the segment; nothing is wrong with one that was truncated meanwhile.
    fn verify_if_there(
        &self,
        segment: &SegmentFile,
        end_lsn: Option<Lsn>,
    ) -> Result<SegmentReport> {
        let part = self.verify_segment(segment, end_lsn);
        let sound = part.as_ref().is_ok_and(|part| part.findings.is_empty());
        if sound || !self.is_truncated(segment.base) {
            return part;
        }
        Ok(SegmentReport::of(segment))
    }

    fn verify_segment(&self, segment: &SegmentFile, end_lsn: Option<Lsn>) -> Result<SegmentReport> {
        let mut scan = self.scanner(segment)?;
        let mut offset = SEGMENT_HEADER_SIZE;
        // Where the log ends a frame need not be intact; if that is not known, the caller judges.
        let end = end_lsn
            .map_or(u64::MAX, Lsn::get)
            .min(segment.base + segment.size);
        let mut part = SegmentReport::of(segment);
        while segment.base + offset < end {
            match scan.look(offset)? {
                Found::Frame(frame) => {
                    part.add(segment, &frame, scan.payload(&frame));
                    offset = frame.next;
                }
                Found::Unknown(raw) => {
                    part.findings.push(segment.unknown_feature(offset, &raw));
                    break;
                }
                Found::Nothing | Found::BadPayload(_) => {
                    let broken = segment.corrupt(Finding::CorruptProven, offset, BROKEN);
                    part.findings.push(broken);
                    let next = scan.next_intact(offset + FRAME_ALIGNMENT, u64::MAX);
                    match next.filter(|_| part.findings.len() < MAX_FINDINGS) {
                        Some(next) => offset = next,
                        None => break,
                    }
                }
            }
        }
        Ok(part)
    }
}

impl Report {
    /// True if nothing is damaged.
    ///
    /// ```
    /// use highwater_wal::{disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_batch(&["one", "two"])?;
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// let report = log.verify(|_| ())?;
    /// assert!(report.is_ok() && report.findings.is_empty());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }

    /// Keeps a finding. A file that cannot be read is an error. A place is reported once.
    fn add(&mut self, error: WalError) -> Result<()> {
        let place = |error: &WalError| match error {
            WalError::Corrupt { file, offset, .. } => Some((file.clone(), *offset)),
            _ => None,
        };
        if matches!(error, WalError::Io { .. }) {
            return Err(error);
        }
        let known = place(&error).is_some_and(|new| {
            self.findings
                .iter()
                .any(|old| place(old).as_ref() == Some(&new))
        });
        if !known {
            self.findings.push(error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Background, Options, Wal};
    use highwater_disk::{Disk, SimDisk};
    use std::sync::Arc;

    /// Any number of threads finds the same, in the same order.
    #[test]
    fn the_number_of_threads_changes_nothing() {
        let sim = SimDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let options = Options::new().segment_size(8 << 10).log_id_seed(1);
        let options = options
            .background(Background::Inline)
            .disk(Arc::clone(&disk));
        let log = Wal::open_with("/log", options).unwrap();
        for n in 0..100_u8 {
            let _ = log.append([n; 300]).unwrap();
        }
        log.close().unwrap();
        let log_end = log.end_lsn();
        drop(log);
        let damaged: Vec<_> = sim
            .files()
            .into_iter()
            .filter(|p| p.extension().is_some_and(|e| e == "wal"))
            .collect();
        for path in damaged.iter().step_by(2) {
            sim.edit(path, |bytes| {
                bytes[5000] ^= 1;
                bytes[7000] ^= 1;
            });
        }
        let inspected = Log::open(disk, "/log").unwrap();
        let verify = |threads| {
            let mut last = None;
            let report = inspected.verify_with(threads, |p| last = Some(p)).unwrap();
            let at = |error: &WalError| match error {
                WalError::Corrupt { lsn, .. } => *lsn,
                other => panic!("{other}"),
            };
            let findings: Vec<Lsn> = report.findings.iter().map(at).collect();
            (findings, report.frames, report.records, report.bytes, last)
        };
        let one = verify(1);
        assert!(one.0.len() > 6 && one.0.is_sorted(), "{:?}", one.0);
        let first = one.0.iter().filter(|lsn| lsn.get() < 8 << 10);
        assert_eq!(first.count(), 2, "each damage of a segment is reported");
        let end = log_end.get();
        assert!(
            one.0.iter().all(|lsn| lsn.get() < end),
            "the end of the log is no damage"
        );
        assert_eq!(one.4.unwrap().bytes_done, one.4.unwrap().bytes_total);
        for threads in [2, 5, 100] {
            assert_eq!(verify(threads), one);
        }
    }
}
