//! Following a log that another process writes, without a lock and without writing.

use crate::error::{Result, WalError};
use crate::format::layout::SEGMENT_HEADER_SIZE;
use crate::format::mark::Mark;
use crate::inspect::dump::{DumpedFrame, shown};
use crate::inspect::log::Log;
use crate::lsn::Lsn;
use crate::marks::set::Marks;
use crate::segment::header::check_segment;
use crate::segment::list::{HeaderCheck, list_segments, segment_holding};
use crate::segment::scan::{Check, Found, LogScanner, Scanner};
use std::collections::BTreeMap;
use std::io;

/// Polls that find nothing before the first look after the place where the log seems to end. Each
/// time after, twice as many.
const FIRST_PATIENCE: u32 = 16;
const MAX_PATIENCE: u32 = 1024;

/// Shows the frames of a log as they become durable, while another process writes it.
///
/// Only frames that a later one proves durable are shown: the durable-LSN record that follows each
/// sync, or the mark of a clean close. What was appended but not synced is invisible, as it may be
/// gone after a crash. A group at the very end of a segment, where its record finds no room, is
/// proven, and so shown, only with the next one.
#[derive(Debug)]
pub struct Follow {
    log: Log,
    /// The next frame to show; everything below `proven` never changes again.
    shown: Position,
    /// How far intact frames reach.
    ahead: Position,
    proven: u64,
    /// What the marks say that are proven durable, and the marks after those by their LSN.
    marks: Marks,
    unproven: BTreeMap<u64, Mark>,
    /// What is wrong at `proven`. It is returned after everything before it.
    damage: Option<WalError>,
    empty_polls: u32,
    patience: u32,
    /// Where the log seemed damaged at the last look after that place.
    suspect: Option<u64>,
}

/// Where following begins; as in [`Follow`].
struct Begin {
    shown: Position,
    ahead: Position,
    proven: u64,
    marks: Marks,
    damage: Option<WalError>,
}

/// A position and the segment that holds it.
#[derive(Debug)]
struct Position {
    scan: LogScanner,
    base: u64,
}

impl Log {
    /// Follows the log from `from` on (a place as for [`Self::frames`]).
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let other = Log::open(Arc::new(OsDisk::new()), dir.path())?; // `log` is in use
    /// let mut follow = other.follow(Lsn::ZERO)?;
    /// assert!(follow.poll()?.is_none());
    /// for text in ["news", "more news"] {
    ///     let lsn = log.append(text)?;
    ///     log.sync_to(lsn)?;
    /// }
    /// assert_eq!(follow.poll()?.expect("the group after it proves it durable").payload, b"news");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::frames`].
    pub fn follow(self, from: Lsn) -> Result<Follow> {
        self.must_be_whole()?;
        let begin = self.when_stable(|log| log.begin_to_follow(from), |b| b.damage.is_none())?;
        Ok(Follow {
            log: self,
            shown: begin.shown,
            ahead: begin.ahead,
            proven: begin.proven,
            marks: begin.marks,
            unproven: BTreeMap::new(),
            damage: begin.damage,
            empty_polls: 0,
            patience: FIRST_PATIENCE,
            suspect: None,
        })
    }

    fn begin_to_follow(&self, from: Lsn) -> Result<Begin> {
        let mut segments = list_segments(
            &*self.disk,
            &self.dir,
            &self.meta,
            &self.listing,
            HeaderCheck::All,
        )?;
        let start = from.get().max(self.meta.first_lsn);
        if from != Lsn::ZERO && from.get() < self.meta.first_lsn {
            return Err(WalError::Truncated {
                asked: from,
                first: self.first_lsn(),
            });
        }
        let (end, proven, marks, damage) = match self.find_end(&mut segments) {
            Ok(end) => {
                let x = segments.get(end.segment).map_or(0, |s| s.base) + end.offset;
                (x, end.proven.min(x), end.marks, None)
            }
            Err(WalError::Corrupt { lsn, .. }) if lsn < from => {
                return Err(WalError::BeyondEnd {
                    asked: from,
                    end: lsn,
                });
            }
            Err(error @ WalError::Corrupt { lsn, .. }) => {
                (lsn.get(), lsn.get(), self.meta.marks.clone(), Some(error))
            }
            Err(error) => return Err(error),
        };
        let holds = |lsn: u64| segment_holding(&segments, lsn).map(|segment| segment.base);
        let Some(base) = holds(start) else {
            return Err(WalError::BeyondEnd {
                asked: from,
                end: Lsn::new(end),
            });
        };
        let ahead = end.max(start);
        let ahead_base = holds(ahead).unwrap_or(base);
        Ok(Begin {
            shown: Position::new(start, base),
            ahead: Position::new(ahead, ahead_base),
            proven,
            marks,
            damage,
        })
    }
}

impl Follow {
    /// The next durable frame; `None` if there is none now: ask again later.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let mut follow = Log::open(Arc::new(OsDisk::new()), dir.path())?.follow(Lsn::ZERO)?;
    /// let lsn = log.append("not yet durable")?;
    /// assert!(follow.poll()?.is_none());
    /// log.close()?;
    /// while let Some(frame) = follow.poll()? {
    ///     println!("{} {} {:?}", frame.lsn, frame.kind, frame.payload);
    /// }
    /// # assert!(follow.position() > lsn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Corrupt`] if durable frames are damaged; [`WalError::Truncated`] if the log was
    /// truncated past the position of this; [`WalError::BadDirectory`] if another log has
    /// taken its place; [`WalError::Io`].
    pub fn poll(&mut self) -> Result<Option<DumpedFrame>> {
        loop {
            if self.shown.lsn() < self.proven {
                self.empty_polls = 0;
                self.patience = FIRST_PATIENCE;
                return self.show().map(Some).map_err(|e| self.explain(e));
            }
            if let Some(damage) = self.damage.take() {
                return Err(damage);
            }
            let before = (self.proven, self.ahead.lsn());
            self.look_ahead().map_err(|e| self.explain(e))?;
            if before == (self.proven, self.ahead.lsn()) {
                self.empty_polls += 1;
                if self.empty_polls >= self.patience {
                    self.empty_polls = 0;
                    self.patience = (self.patience * 2).min(MAX_PATIENCE);
                    self.look_after_end()?;
                }
                return Ok(None);
            }
        }
    }

    /// Where the next frame will be shown.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let mut follow = Log::open(Arc::new(OsDisk::new()), dir.path())?.follow(Lsn::ZERO)?;
    /// let _ = log.append("news")?;
    /// log.close()?;
    /// let frame = follow.poll()?.expect("it is durable");
    /// assert_eq!(follow.position(), frame.end_lsn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn position(&self) -> Lsn {
        Lsn::new(self.shown.lsn())
    }

    /// Up to where frames are intact; those from [`Self::position`] on are not known to be durable.
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
    /// let follow = log.follow(Lsn::ZERO)?;
    /// assert!(follow.intact_end() > follow.position(), "there are frames to show");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn intact_end(&self) -> Lsn {
        Lsn::new(self.ahead.lsn())
    }

    fn show(&mut self) -> Result<DumpedFrame> {
        let lsn = self.shown.lsn();
        let found = self.shown.step(&self.log)?;
        let Some(scanner) = self.shown.scan.scanner() else {
            return Err(WalError::no_log(&self.log.dir, "a segment went away"));
        };
        match shown(scanner, lsn.saturating_sub(scanner.segment.base), &found) {
            Ok(mut frame) => {
                let is_void = self.marks.voids.contains(lsn);
                frame.is_void = is_void && frame.kind.holds_records();
                self.shown.cross();
                Ok(frame)
            }
            Err(error) => {
                // Asked again, it answers the same: no frame is passed over.
                self.shown.scan.position = lsn;
                Err(error)
            }
        }
    }

    /// Goes on over intact frames and learns what they prove. The files are opened again: what was
    /// read before, where no frame was, is old.
    fn look_ahead(&mut self) -> Result<()> {
        self.ahead.scan.reopen();
        loop {
            let Found::Frame(frame) = self.ahead.step(&self.log)? else {
                return Ok(());
            };
            let Some(scanner) = self.ahead.scan.scanner() else {
                return Ok(());
            };
            let payload = scanner.payload(&frame);
            if let Some(mark) = frame.mark(payload) {
                self.unproven.insert(frame.lsn().get(), mark);
            }
            if let Some(found) = frame.proven(payload) {
                self.proven = self.proven.max(found);
                while let Some(first) = self.unproven.first_entry()
                    && *first.key() < self.proven
                {
                    self.marks.apply(&first.remove());
                }
                // What was read ahead there is older than the proof.
                self.shown.scan.reopen();
            }
            self.ahead.cross();
        }
    }

    /// Whether the log goes on after the place that holds no frame: then that place is damaged.
    fn look_after_end(&mut self) -> Result<()> {
        let now = Log::open(self.log.disk.clone(), &self.log.dir)?;
        if now.log_id() != self.log.log_id() {
            let what = "another log has taken the place of the one that was followed";
            return Err(WalError::no_log(&self.log.dir, what));
        }
        if now.first_lsn().get() > self.shown.lsn() {
            return Err(WalError::Truncated {
                asked: self.position(),
                first: now.first_lsn(),
            });
        }
        let seen = list_segments(
            &*now.disk,
            &now.dir,
            &now.meta,
            &now.listing,
            HeaderCheck::All,
        )
        .and_then(|mut segments| now.find_end(&mut segments));
        // Files come and go while the log is written: what is damaged is so at the next look, too.
        let before = self.ahead.lsn();
        match seen {
            Ok(_) => self.suspect = None,
            Err(error @ (WalError::Corrupt { .. } | WalError::Io { .. })) => {
                self.look_ahead()?;
                if self.suspect == Some(before) && before == self.ahead.lsn() {
                    return Err(error);
                }
                self.suspect = Some(before);
                self.patience = FIRST_PATIENCE;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A file that went away was truncated, or the whole log is gone.
    fn explain(&mut self, error: WalError) -> WalError {
        let gone = matches!(&error, WalError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
        let replaced = matches!(&error, WalError::Corrupt { .. });
        if !gone && !replaced {
            return error;
        }
        match Log::open(self.log.disk.clone(), &self.log.dir) {
            Ok(now) if now.first_lsn().get() > self.shown.lsn() => WalError::Truncated {
                asked: self.position(),
                first: now.first_lsn(),
            },
            Ok(_) => error,
            Err(other) => other,
        }
    }
}

impl Position {
    fn new(lsn: u64, base: u64) -> Self {
        Self {
            scan: LogScanner::new(lsn.max(base + SEGMENT_HEADER_SIZE)),
            base,
        }
    }

    fn lsn(&self) -> u64 {
        self.scan.position
    }

    /// Leaves a segment at its end: its file is not needed any more, and may be gone when the next
    /// one is.
    fn cross(&mut self) {
        let end = self.scan.scanner().map(|scanner| scanner.segment.end());
        if let Some(end) = end.filter(|end| self.lsn() >= *end) {
            *self = Self::new(end, end);
        }
    }

    /// Looks at the place, and goes on if a frame is there.
    fn step(&mut self, log: &Log) -> Result<Found> {
        let base = self.base;
        let found = self.scan.step(u64::MAX, Check::Payload, |_, _| {
            let segment = check_segment(&*log.disk, &log.dir, base, log.meta.log_id)?;
            Scanner::open(&*log.disk, &segment, log.key).map(Some)
        })?;
        Ok(found.unwrap_or(Found::Nothing))
    }
}
