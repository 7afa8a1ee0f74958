//! When the records of a log were durable.

use crate::error::Result;
use crate::format::frame::durable_at_in;
use crate::format::layout::SEGMENT_HEADER_SIZE;
use crate::inspect::dump::DumpedFrame;
use crate::inspect::log::Log;
use crate::lsn::Lsn;
use crate::segment::header::SegmentFile;
use crate::segment::scan::{Check, Found};
use crate::time::unix::{from_ms, to_ms};
use std::time::SystemTime;

impl DumpedFrame {
    /// Of a durable-LSN record with a time: everything below [`Self::durable_lsn`] was durable
    /// then.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_sync("one")?;
    /// # log.sync()?;
    /// # let _ = log.append_sync("two")?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// let mut frames = log.frames(Lsn::ZERO)?.filter_map(Result::ok);
    /// assert!(frames.any(|frame| frame.durable_at().is_some()));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn durable_at(&self) -> Option<SystemTime> {
        let (_, time) = durable_at_in(self.kind, &self.payload)?;
        Some(from_ms(time))
    }
}

impl Log {
    /// The highest position below which everything is known to have been durable before `time`; the
    /// start of the log if nothing is: as [`Wal::lsn_at`](crate::Wal::lsn_at). Reads the headers of
    /// one segment, and of others up to the first time in each.
    ///
    /// ```
    /// use highwater_wal::{disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// use std::time::{Duration, SystemTime};
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_sync("one")?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// let an_hour_ago = SystemTime::now() - Duration::from_hours(1);
    /// assert_eq!(log.lsn_at(an_hour_ago)?, log.first_lsn());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::frames`].
    pub fn lsn_at(&self, time: SystemTime) -> Result<Lsn> {
        let time_ms = to_ms(time);
        self.when_stable(|log| log.lsn_at_now(time_ms), |_| true)
    }

    fn lsn_at_now(&self, time_ms: u64) -> Result<Lsn> {
        let frames = self.frames(Lsn::ZERO)?;
        for segment in frames.segments.iter().rev() {
            let mut found = None;
            self.each_stamp(segment, frames.end, |(durable, time)| {
                let is_before = time < time_ms;
                if is_before {
                    found = found.max(Some(durable));
                }
                is_before
            })?;
            if let Some(found) = found {
                return Ok(Lsn::new(found).max(self.first_lsn()));
            }
        }
        Ok(self.first_lsn())
    }

    /// The lowest position below which everything that was durable before `time` lies; `None` if
    /// that is the whole log: no later time stands in it.
    ///
    /// ```
    /// use highwater_wal::{disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// use std::time::{Duration, SystemTime};
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_sync("one")?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// assert_eq!(log.lsn_until(SystemTime::now() + Duration::from_hours(1))?, None);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::frames`].
    pub fn lsn_until(&self, time: SystemTime) -> Result<Option<Lsn>> {
        let time_ms = to_ms(time);
        self.when_stable(|log| log.lsn_until_now(time_ms), |_| true)
    }

    fn lsn_until_now(&self, time_ms: u64) -> Result<Option<Lsn>> {
        let before = self.lsn_at_now(time_ms)?.get();
        let frames = self.frames(Lsn::ZERO)?;
        for segment in frames
            .segments
            .iter()
            .filter(|segment| segment.end() > before)
        {
            let mut found = None;
            self.each_stamp(segment, frames.end, |(durable, time)| {
                found = (time >= time_ms).then_some(durable);
                found.is_none()
            })?;
            if let Some(found) = found {
                return Ok(Some(Lsn::new(found)));
            }
        }
        Ok(None)
    }

    /// Shows the durable-LSN records with a time in a segment, below a position, while `each` wants
    /// more.
    fn each_stamp(
        &self,
        segment: &SegmentFile,
        end: u64,
        mut each: impl FnMut((u64, u64)) -> bool,
    ) -> Result<()> {
        let limit = end.saturating_sub(segment.base).min(segment.size);
        let mut scan = self.scanner(segment)?;
        let mut offset = SEGMENT_HEADER_SIZE;
        while offset < limit
            && let Found::Frame(frame) = scan.look_below(offset, limit, Check::Times)?
        {
            offset = frame.next;
            let stamp = match frame.header.kind.has_time() {
                true => durable_at_in(frame.header.kind, scan.payload(&frame)),
                false => None,
            };
            if stamp.is_some_and(|stamp| !each(stamp)) {
                return Ok(());
            }
        }
        Ok(())
    }
}
