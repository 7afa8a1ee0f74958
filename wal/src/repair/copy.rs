//! A new log of what an intact one holds from a position on, at the same LSNs.

use crate::error::{Result, WalError};
use crate::inspect::log::{Log, Progress};
use crate::lsn::Lsn;
use crate::repair::rebuild::Rebuild;
use crate::repair::repair::{check_copy, places};
use crate::segment::list::segment_holding;
use std::path::Path;

/// What [`Log::copy_from`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopiedLog {
    /// Where the copy starts: the segment of the position.
    pub first_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// Frames copied, those of the log itself included.
    pub frames: u64,
}

impl Log {
    /// Writes what the log holds from the segment of `from` on into a new log in `to`, at the same
    /// LSNs and with the same identity, so that checkpoints of this log fit it. [`Lsn::ZERO`] means
    /// from the start of the log. Never changes this log, and takes no lock: it may be in use. What
    /// is appended to it meanwhile is not copied. Until all is written `to` is no log. The result
    /// was verified.
    ///
    /// Both logs have the same identity. Go on with one of them only.
    ///
    /// # Errors
    /// [`WalError::Truncated`] if the log starts after `from`, or is
    /// truncated past the place that is being read: then begin again, with a later position and
    /// another directory. [`WalError::BeyondEnd`];
    /// [`WalError::Corrupt`] if it is damaged after `from`;
    /// [`WalError::BadDirectory`] if `to` is not empty, or lies
    /// inside this log; [`WalError::Io`]. After an error `to` may hold some
    /// files, and is no log.
    ///
    /// ```
    /// # fn main() -> highwater_wal::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a temporary directory");
    /// use highwater_wal::{Lsn, Wal, disk::OsDisk, inspect};
    /// use std::sync::Arc;
    ///
    /// let wal = Wal::open(dir.path().join("log"))?; // it stays in use
    /// let lsn = wal.append("hello")?;
    /// wal.sync_to(lsn)?;
    /// let log = inspect::Log::open(Arc::new(OsDisk::new()), dir.path().join("log"))?;
    /// let copied = log.copy_from(Lsn::ZERO, dir.path().join("copy"))?;
    /// assert_eq!(copied.first_lsn, wal.first_lsn());
    /// let copy = Wal::open(dir.path().join("copy"))?;
    /// let mut records = copy.read_from(lsn)?;
    /// let record = records.next().expect("it was copied")?;
    /// assert_eq!((record.lsn, &*record.payload), (lsn, &b"hello"[..]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy_from(&self, from: Lsn, to: impl AsRef<Path>) -> Result<CopiedLog> {
        let (_, to) = &places(&*self.disk, &self.dir, to.as_ref())?;
        let copied = self.copy_with(from, to, &mut |_| ())?;
        check_copy(&self.disk, to)?;
        Ok(copied)
    }

    /// As [`Self::copy_from`]; what was written is not read again.
    pub(crate) fn copy_with(
        &self,
        from: Lsn,
        to: &Path,
        progress: &mut impl FnMut(Progress),
    ) -> Result<CopiedLog> {
        self.must_be_whole()?;
        let mut frames = self.frames(from)?;
        let end = frames.log_end();
        if from > end {
            return Err(WalError::BeyondEnd { asked: from, end });
        }
        let held = segment_holding(&frames.segments, frames.span().0.get());
        let first = held.or(frames.segments.last()).cloned();
        let first = first.expect("a log that is read has a segment");
        frames.begin_at(first.base);
        let (start, bytes_total) = frames.span();
        let mut new = Rebuild::begin(&self.disk, to, self.key)?;
        new.start_at(first.base);
        new.segment(first.base, first.size)?;
        let mut copied = 0;
        while let Some(frame) = frames.next_raw() {
            let frame = frame?;
            if !new.is_at(frame.segment.base) {
                new.segment(frame.segment.base, frame.segment.size)?;
                progress(Progress {
                    bytes_done: frame.found.lsn().bytes_since(start),
                    bytes_total,
                });
            }
            let (lsn, kind) = (frame.found.lsn().get(), frame.found.header.kind);
            new.frame(lsn, kind, &frame.bytes)?;
            copied += 1;
        }
        // A log goes on after a seal in the next segment.
        if new.is_sealed() {
            new.segment(new.end(), first.size)?;
        }
        let mut marks = frames.marks;
        for position in marks.cursors.values_mut() {
            *position = first.base.max(*position);
        }
        new.set_marks(marks);
        let end_lsn = new.finish(first.base)?;
        Ok(CopiedLog {
            first_lsn: Lsn::new(first.base),
            end_lsn,
            frames: copied,
        })
    }
}
