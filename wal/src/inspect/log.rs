//! A log that is only looked at.

use crate::control::features::Features;
use crate::control::file::{self, ControlFile, LogEnd};
use crate::error::{Finding, Result, WalError};
use crate::format::frame::LogKey;
use crate::format::layout::{SEGMENT_HEADER_SIZE, segment_name};
use crate::inspect::dump::DumpedFrames;
use crate::inspect::lone::LoneSegment;
use crate::inspect::moving::{MAX_LOOKS, start_after};
use crate::lsn::Lsn;
use crate::marks::set::Marks;
use crate::recovery::end::{End, find_end};
use crate::recovery::fitness::resolve;
use crate::segment::header::{SegmentFile, check_segment};
use crate::segment::list::{HeaderCheck, Listing, list_segments_into, segment_holding};
use crate::segment::scan::{Found, LogScanner, Scanner};
use highwater_disk::Disk;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log that is only looked at.
#[derive(Debug)]
pub struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) meta: ControlFile,
    pub(crate) key: LogKey,
    pub(crate) listing: Listing,
    /// The file, if there is nothing else.
    pub(crate) lone: Option<LoneSegment>,
}

/// One segment file.
#[derive(Debug)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// LSN of its first byte.
    pub base: Lsn,
    /// The file.
    pub file: PathBuf,
    /// Length of the file in bytes.
    pub size_bytes: u64,
    /// What it is to the log.
    pub state: SegmentState,
}

/// What a segment file is to the log.
#[derive(Debug)]
#[non_exhaustive]
pub enum SegmentState {
    /// Holds part of the log.
    Live,
    /// Made in advance, holds nothing yet.
    Prepared,
    /// Below the start of the log: to be removed or recycled.
    Truncated,
    /// Cannot be used.
    Damaged(WalError),
}

impl fmt::Display for SegmentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live => f.write_str("live"),
            Self::Prepared => f.write_str("prepared"),
            Self::Truncated => f.write_str("truncated"),
            Self::Damaged(error) => write!(f, "damaged: {error}"),
        }
    }
}

/// Where frames end, what is wrong there, and what the marks before it say.
type Reach = (u64, Option<WalError>, Marks);

/// How far [`Log::verify`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read so far.
    pub bytes_done: u64,
    /// Bytes to read in total.
    pub bytes_total: u64,
}

impl Log {
    /// Reads what the log in `dir` consists of. A relative path is resolved now.
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
    /// assert!(log.verify(|_| ())?.is_ok());
    /// let nothing = Log::open(Arc::new(OsDisk::new()), dir.path().join("nothing"));
    /// assert!(nothing.is_err());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::BadDirectory`] if there is no directory, or no log in it;
    /// [`WalError::NewerFormat`]; [`WalError::Corrupt`] if `LOG` is damaged or missing;
    /// [`WalError::Io`].
    pub fn open(disk: Arc<dyn Disk>, dir: impl AsRef<Path>) -> Result<Self> {
        let dir = resolve(&*disk, dir.as_ref())?;
        let bad = |source| WalError::BadDirectory {
            dir: dir.clone(),
            source,
        };
        disk.list(&dir).map_err(bad)?;
        let listing = Listing::read(&*disk, &dir)?;
        let Some(meta) = ControlFile::read(&*disk, &dir)? else {
            if listing.segments.is_empty() {
                let what = "there is no file LOG in it: it is not a log";
                return Err(bad(std::io::Error::new(std::io::ErrorKind::NotFound, what)));
            }
            return Err(WalError::Corrupt {
                finding: Finding::MissingControlFile,
                file: file::path(&dir),
                offset: 0,
                lsn: Lsn::ZERO,
                what: "there are segments, but no file LOG; restore it".to_owned(),
            });
        };
        Ok(Self {
            disk,
            dir,
            key: LogKey::new(meta.log_id),
            meta,
            listing,
            lone: None,
        })
    }

    /// Reads one segment file as a log: everything that is intact in it, without `LOG` and the
    /// other segments. The file may have any name, be cut short, and lie anywhere. Its header
    /// must be intact: it has the identity that every checksum covers.
    ///
    /// What only the log knows is not known: where it starts and ends, and what was proven durable
    /// but by the frames in the file. [`Self::frames`] passes over damaged places: the error of
    /// each comes in its turn, and the next intact frame after it. It cannot be followed or copied.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_batch(&["one", "two"])?;
    /// # log.close()?;
    /// # drop(log);
    /// let file = dir.path().join("00000000000000000000.wal");
    /// let segment = Log::open_segment(Arc::new(OsDisk::new()), file)?;
    /// assert!(segment.is_one_segment());
    /// assert_eq!(segment.frames(Lsn::ZERO)?.next().expect("a frame")?.records().len(), 2);
    /// let report = segment.verify(|_| ())?;
    /// assert_eq!((report.records, report.end_lsn), (2, None));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Corrupt`] with [`Finding::DamagedHeader`]; [`WalError::NewerFormat`];
    /// [`WalError::Io`].
    pub fn open_segment(disk: Arc<dyn Disk>, file: impl AsRef<Path>) -> Result<Self> {
        let path = resolve(&*disk, file.as_ref())?;
        let lone = LoneSegment::open(&*disk, &path)?;
        Ok(Self {
            disk,
            dir: path,
            key: LogKey::new(lone.log_id),
            meta: ControlFile {
                log_id: lone.log_id,
                first_lsn: lone.segment.base,
                attested_lsn: 0,
                reach: 0,
                end: LogEnd::Open,
                features: Features::default(),
                time_ms: 0,
                marks: Marks::default(),
            },
            listing: Listing::default(),
            lone: Some(lone),
        })
    }

    /// Whether this is one segment file without its log.
    ///
    /// ```
    /// use highwater_wal::{disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let whole = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// assert!(!whole.is_one_segment());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_one_segment(&self) -> bool {
        self.lone.is_some()
    }

    /// Refuses what needs a whole log.
    pub(crate) fn must_be_whole(&self) -> Result<()> {
        match self.lone {
            None => Ok(()),
            Some(_) => Err(WalError::no_log(
                &self.dir,
                "it is one segment file: this needs the directory of the log",
            )),
        }
    }

    /// Scans a segment; of a lone one what its file has.
    pub(crate) fn scanner(&self, segment: &SegmentFile) -> Result<Scanner> {
        match &self.lone {
            None => Scanner::open(&*self.disk, segment, self.key),
            Some(lone) => lone.scanner(&*self.disk),
        }
    }

    /// The random identity of the log.
    ///
    /// ```
    /// use highwater_wal::{disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let other = Log::open(Arc::new(OsDisk::new()), dir.path())?; // `log` is in use
    /// assert_eq!(other.log_id(), log.log_id());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn log_id(&self) -> u128 {
        self.meta.log_id
    }

    /// Where the log starts.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_batch(&["one", "two"])?;
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// assert_eq!(log.first_lsn(), Lsn::ZERO);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn first_lsn(&self) -> Lsn {
        Lsn::new(self.meta.first_lsn)
    }

    /// All segment files, in order. Looks at headers only, and reports damage for each segment.
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
    /// for segment in log.segments()? {
    ///     println!("{}: {} bytes, {}", segment.base, segment.size_bytes, segment.state);
    /// }
    /// # assert!(!log.segments()?.is_empty());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Io`] if a segment cannot be read.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        if let Some(lone) = &self.lone {
            let shape = lone.shape();
            return Ok(vec![SegmentInfo {
                base: self.first_lsn(),
                file: self.dir.clone(),
                size_bytes: lone.len,
                state: shape.map_or(SegmentState::Live, SegmentState::Damaged),
            }]);
        }
        let mut segments = Vec::new();
        for (base, len) in &self.listing.segments {
            let lsn = Lsn::new(*base);
            let state = if *base < self.meta.first_lsn {
                SegmentState::Truncated
            } else {
                let segment = check_segment(&*self.disk, &self.dir, *base, self.meta.log_id);
                match segment.and_then(|segment| self.state_of(&segment)) {
                    Ok(state) => state,
                    Err(_) if self.is_truncated(*base) => SegmentState::Truncated,
                    Err(error @ WalError::Io { .. }) => return Err(error),
                    Err(error) => SegmentState::Damaged(error),
                }
            };
            segments.push(SegmentInfo {
                base: lsn,
                file: self.dir.join(segment_name(lsn)),
                size_bytes: *len,
                state,
            });
        }
        Ok(segments)
    }

    fn state_of(&self, segment: &SegmentFile) -> Result<SegmentState> {
        let mut scan = Scanner::open(&*self.disk, segment, self.key)?;
        let last = self
            .listing
            .segments
            .last()
            .is_some_and(|(base, _)| *base == segment.base);
        let first = segment.base == self.meta.first_lsn;
        let empty = matches!(scan.look(SEGMENT_HEADER_SIZE)?, Found::Nothing);
        Ok(if empty && last && !first {
            SegmentState::Prepared
        } else {
            SegmentState::Live
        })
    }

    /// The end of the log.
    ///
    /// While a log is written, a frame may become complete and proven durable between the look at
    /// its place and the look after it, and seem lost. If it is there now, everything is looked at
    /// again. A segment may also be begun that was not there when the files were listed: it is
    /// added to `segments`.
    pub(crate) fn find_end(&self, segments: &mut Vec<SegmentFile>) -> Result<End> {
        for _ in 0..MAX_LOOKS {
            let found = find_end(&*self.disk, &self.dir, &self.meta, segments);
            let Err(WalError::Corrupt { lsn, finding, .. }) = &found else {
                return found;
            };
            if *finding == Finding::MissingSegment {
                match check_segment(&*self.disk, &self.dir, lsn.get(), self.meta.log_id) {
                    Ok(segment) => segments.push(segment),
                    Err(_) => return found,
                }
            } else if !self.is_frame_at(segments, *lsn)? {
                return found;
            }
        }
        find_end(&*self.disk, &self.dir, &self.meta, segments)
    }

    /// Everything below is proven to be durable.
    ///
    /// # Errors
    /// [`WalError::Corrupt`] if the log is damaged, as far as it is read for this.
    pub(crate) fn proven(&self) -> Result<u64> {
        let look = |log: &Self| {
            let (disk, meta) = (&*log.disk, &log.meta);
            let headers = HeaderCheck::Unproven;
            let mut segments = Vec::new();
            list_segments_into(disk, &log.dir, meta, &log.listing, headers, &mut segments)?;
            let end = log.find_end(&mut segments)?;
            let base = segments.get(end.segment).map_or(0, |segment| segment.base);
            Ok(end.proven.min(base + end.offset))
        };
        self.when_stable(look, |_| true)
    }

    /// Whether an intact frame starts at `lsn`.
    fn is_frame_at(&self, segments: &[SegmentFile], lsn: Lsn) -> Result<bool> {
        let Some(segment) = segment_holding(segments, lsn.get()) else {
            return Ok(false);
        };
        let mut scan = Scanner::open(&*self.disk, segment, self.key)?;
        let found = scan.look(lsn.get() - segment.base)?;
        Ok(matches!(found, Found::Frame(_)))
    }

    /// The intact frames from `from` on, of every kind. [`Lsn::ZERO`] means from the start of the
    /// log. If the log is damaged, everything up to the damage comes first and then the error that
    /// describes it. If it is truncated meanwhile past the place of the next frame,
    /// [`WalError::Truncated`] says so, and what is left of it follows.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_batch(&["one", "two"])?;
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// for frame in log.frames(Lsn::ZERO)? {
    ///     let frame = frame?;
    ///     println!("{} {} {:?}", frame.lsn, frame.kind, frame.payload);
    /// }
    /// # assert_eq!(log.frames(Lsn::ZERO)?.next().expect("a frame")?.records().len(), 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Truncated`]; [`WalError::BeyondEnd`]; [`WalError::Io`].
    pub fn frames(&self, from: Lsn) -> Result<DumpedFrames> {
        self.when_stable(|log| log.frames_now(from), |found| found.damage.is_none())
    }

    /// Where the frames of segments whose files join end, what is wrong there, and what the marks
    /// say.
    fn end_of(&self, segments: &mut Vec<SegmentFile>, from: Lsn) -> Result<Reach> {
        match self.find_end(segments) {
            Ok(end) => {
                let last = segments.get(end.segment).map_or(0, |segment| segment.base);
                Ok((last + end.offset, None, end.marks))
            }
            Err(WalError::Corrupt { lsn, .. }) if lsn < from => Err(WalError::BeyondEnd {
                asked: from,
                end: lsn,
            }),
            Err(error @ WalError::Corrupt { lsn, .. }) => {
                Ok((lsn.get(), Some(error), self.meta.marks.clone()))
            }
            Err(error) => Err(error),
        }
    }

    /// The segments, where their frames end, and what is wrong there.
    fn span(&self, from: Lsn) -> Result<(Vec<SegmentFile>, Reach)> {
        let (disk, all) = (&*self.disk, HeaderCheck::All);
        let mut segments = Vec::new();
        if let Some(lone) = &self.lone {
            let (end, marks) = lone.reach(disk)?;
            return Ok((vec![lone.segment.clone()], (end, None, marks)));
        }
        let joined = list_segments_into(
            disk,
            &self.dir,
            &self.meta,
            &self.listing,
            all,
            &mut segments,
        );
        // Damage hides nothing of what is before it.
        let (end, damage, marks) = match joined {
            Ok(()) => self.end_of(&mut segments, from)?,
            Err(error @ WalError::Corrupt { .. }) => {
                // The log may end before the file that is wrong.
                let end = match segments.is_empty() {
                    true => None,
                    false => find_end(disk, &self.dir, &self.meta, &segments).ok(),
                };
                let end = end.and_then(|end| Some(segments.get(end.segment)?.base + end.offset));
                let last = segments.last().map(|segment| segment.base + segment.size);
                let end = end.or(last).unwrap_or(self.meta.first_lsn);
                (end, Some(error), self.meta.marks.clone())
            }
            Err(error) => return Err(error),
        };
        Ok((segments, (end, damage, marks)))
    }

    fn frames_now(&self, from: Lsn) -> Result<DumpedFrames> {
        let (segments, (end, damage, marks)) = self.span(from)?;
        let position = if from == Lsn::ZERO {
            self.meta.first_lsn
        } else {
            from.get()
        };
        if position < self.meta.first_lsn {
            return Err(WalError::Truncated {
                asked: from,
                first: self.first_lsn(),
            });
        }
        let (disk, key) = (Arc::clone(&self.disk), self.key);
        Ok(DumpedFrames {
            disk,
            dir: self.dir.clone(),
            key,
            segments,
            scan: LogScanner::new(position),
            end,
            damage,
            lone: self.lone.clone(),
            marks,
        })
    }

    /// What `look` finds in the log. If that is an error, or not `sound`, and the files have
    /// changed since, it looks again at the log as it is then.
    pub(crate) fn when_stable<T>(
        &self,
        mut look: impl FnMut(&Self) -> Result<T>,
        sound: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let mut newer: Option<Self> = None;
        for _ in 1..MAX_LOOKS {
            let log = newer.as_ref().unwrap_or(self);
            let seen = look(log);
            if seen.as_ref().is_ok_and(&sound) {
                return seen;
            }
            match log.newer()? {
                Some(now) => newer = Some(now),
                None => return seen,
            }
        }
        look(newer.as_ref().unwrap_or(self))
    }

    /// The log as it is now, if its files are not those that this one knows.
    pub(crate) fn newer(&self) -> Result<Option<Self>> {
        if self.lone.is_some() {
            return Ok(None);
        }
        let now = Self::open(Arc::clone(&self.disk), &self.dir)?;
        let files = |log: &Self| (log.meta.first_lsn, log.listing.segments.clone());
        Ok((files(&now) != files(self)).then_some(now))
    }

    /// Whether the segment at `base` was truncated since it was listed: nothing is wrong with it
    /// then.
    pub(crate) fn is_truncated(&self, base: u64) -> bool {
        self.lone.is_none() && start_after(&*self.disk, &self.dir, base).is_some()
    }
}
