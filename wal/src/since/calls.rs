//! The methods of [`Wal`] about time.

use crate::error::{Result, WalError};
use crate::lsn::Lsn;
#[cfg(doc)]
use crate::options::settings::Options;
use crate::read::reader::Reader;
use crate::time::unix::{from_ms, to_ms};
use crate::wal::Wal;
use std::time::SystemTime;

/// # Time
///
/// The log writes down when each group became durable, unless [`Options::timestamps`] is off: the
/// wall clock at opening, and the monotonic clock since. The times never fall along the log,
/// whatever the wall clock does.
impl Wal {
    /// Reads the records that became durable at `time` or later, and are durable now. No such
    /// record is left out. Some that became durable shortly before may come first: those of the
    /// group before, and all of a log, or a stretch of it, without times.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// use std::time::{Duration, SystemTime};
    /// let _ = log.append_sync("just now")?;
    /// let an_hour_ago = SystemTime::now() - Duration::from_hours(1);
    /// assert_eq!(log.read_since(an_hour_ago)?.count(), 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Corrupt`] and [`WalError::Io`], from reading headers.
    pub fn read_since(&self, time: SystemTime) -> Result<Reader> {
        match self.read_from(self.lsn_at(time)?) {
            // It was truncated in between.
            Err(WalError::Truncated { .. }) => self.read_from(Lsn::ZERO),
            read => read,
        }
    }

    /// The highest position below which everything is known to have been durable before `time`: a
    /// place to read from or to truncate to. The start of the log if nothing is.
    ///
    /// It looks at one frame in a few segments, and at the headers of one segment.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// use std::time::{Duration, SystemTime};
    /// let lsn = log.append_sync("just now")?;
    /// let _ = log.append_sync("the next")?; // its group carries the time of the one before
    /// let (now, hour) = (SystemTime::now(), Duration::from_hours(1));
    /// assert_eq!(log.lsn_at(now - hour)?, log.first_lsn());
    /// assert!(log.lsn_at(now + hour)? > lsn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::read_since`].
    pub fn lsn_at(&self, time: SystemTime) -> Result<Lsn> {
        self.shared.position_at(to_ms(time))
    }

    /// When the record at `lsn` was durable at the latest: shortly after its group was. `None` if
    /// the log does not say: nothing was written down, or not yet. In a log that has got times
    /// later, what is before them is as old as the first of them, at least.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let lsn = log.append_sync("one")?;
    /// let _ = log.append_sync("two")?; // its group makes durable when the one before was
    /// println!("{:?}", log.time_of(lsn)?);
    /// # assert!(log.time_of(lsn)?.is_some());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::read_from`] from there on, where it reads headers until it finds a time.
    pub fn time_of(&self, lsn: Lsn) -> Result<Option<SystemTime>> {
        Ok(self.shared.time_of(lsn)?.map(from_ms))
    }

    /// Gives up what is too old or too much by [`Options::retain_for`] and
    /// [`Options::retain_bytes`], now. A log with threads does this by itself when a segment is
    /// begun, while a producer waits for room, and once a minute; one with
    /// [`Background::Inline`](crate::Background::Inline) only here.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use highwater_wal::{Options, Wal};
    /// let log = Wal::open_with(dir.path(), Options::new().retain_bytes(1 << 30))?;
    /// log.apply_retention()?; // a gibibyte is kept, and less is there
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::truncate_before`] and [`Self::read_since`].
    pub fn apply_retention(&self) -> Result<()> {
        self.shared.apply_retention()
    }
}
