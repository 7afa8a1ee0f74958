//! The methods of [`Wal`] about named consumers, and appending their marks.

use crate::cursor::handle::Cursor;
use crate::error::{Result, WalError};
use crate::format::layout::{MAX_CURSOR_NAME, MAX_CURSORS};
use crate::format::mark::{Mark, is_cursor_name};
use crate::log::shared::Shared;
use crate::lsn::Lsn;
use crate::retention::cursors::CursorInfo;
use crate::wal::Wal;
use std::sync::Arc;

/// # Cursors
///
/// A cursor is the position of a named consumer. It is durable, and it keeps the log: nothing from
/// it on is truncated. So a consumer goes on after a restart where it was, and what it has not
/// dealt with is there.
impl Wal {
    /// The cursor `name`. If there is none, it is made at the oldest record kept, and is durable
    /// when this returns. It lives on in the log when it is dropped.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// log.sync_to(log.append("an order")?)?;
    /// let mut billing = log.cursor("billing")?;
    /// for record in billing.read()? {
    ///     let record = record?;
    ///     println!("{} bytes to deal with", record.payload.len());
    ///     if record.is_last {
    ///         billing.advance(record.next_lsn)?;
    ///     }
    /// }
    /// billing.commit()?; // it will not come again
    /// log.truncate_before(billing.position())?; // as far as other consumers allow
    /// # assert_eq!(billing.read()?.count(), 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::CursorInUse`]; [`WalError::BadOptions`] for a name that is empty, longer than
    /// 128 bytes, or has control characters; [`WalError::TooMany`] if there are 256 cursors; as
    /// [`Self::append_control`] and [`Self::sync_to`] where it is made.
    pub fn cursor(&self, name: impl AsRef<str>) -> Result<Cursor> {
        self.cursor_from(name, Lsn::ZERO)
    }

    /// As [`Self::cursor`]; if there is none, it is made at `from`, as far as the log is durable.
    /// One that there is stays where it is.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// log.sync_to(log.append("before its time")?)?;
    /// let audit = log.cursor_from("audit", log.durable_lsn())?;
    /// assert_eq!(audit.read()?.count(), 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::cursor`]; [`WalError::Truncated`] and [`WalError::NotDurable`] if it is made, and
    /// cannot be at `from`.
    pub fn cursor_from(&self, name: impl AsRef<str>, from: Lsn) -> Result<Cursor> {
        let name = name.as_ref();
        let shared = &self.shared;
        let alone = shared.cursors.alone();
        if !shared.cursors.open(name)? {
            shared.make_cursor(name, from)?;
        }
        drop(alone);
        Ok(Cursor::new(shared, name))
    }

    /// Removes the cursor `name`: it keeps the log no more. Returns, when that is durable, whether
    /// there was one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// drop(log.cursor("audit")?);
    /// assert!(log.remove_cursor("audit")?);
    /// assert!(log.cursors().is_empty());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::CursorInUse`]: drop it first; as [`Self::append_control`] and [`Self::sync_to`].
    pub fn remove_cursor(&self, name: impl AsRef<str>) -> Result<bool> {
        let name = name.as_ref();
        let shared = &self.shared;
        let _alone = shared.cursors.alone();
        if !shared.cursors.open(name)? {
            return Ok(false);
        }
        let removed = shared.write_cursor(name, None);
        let removed = removed.and_then(|end| shared.syncer.sync_until(end));
        match removed {
            Ok(()) => {
                shared.cursors.remove(name);
                Ok(true)
            }
            Err(error) => {
                shared.cursors.close(name);
                Err(error)
            }
        }
    }

    /// All cursors by name, open or not, with their durable positions. They are in [`Self::holds`],
    /// too.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let _billing = log.cursor("billing")?;
    /// for cursor in log.cursors() {
    ///     println!("{} is {} bytes behind", cursor.name, cursor.bytes);
    /// }
    /// # assert_eq!(log.cursors().len(), 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cursors(&self) -> Vec<CursorInfo> {
        let (durable, end) = (self.shared.commit.durable(), self.shared.segments.end());
        self.shared.cursors.list(durable, end)
    }
}

impl Shared {
    /// Makes a cursor, open, at `from`. No other mark of a cursor is appended meanwhile.
    fn make_cursor(&self, name: &str, from: Lsn) -> Result<()> {
        if !is_cursor_name(name) {
            return Err(WalError::BadOptions {
                what: format!(
                    "a cursor cannot be called {name:?}: a name has 1 to {MAX_CURSOR_NAME} bytes of UTF-8 without control characters"
                ),
            });
        }
        if self.cursors.len() >= MAX_CURSORS {
            return Err(WalError::TooMany {
                what: "cursors",
                most: MAX_CURSORS,
                remedy: "remove those that are not needed with `Wal::remove_cursor`",
            });
        }
        self.check_durable(from)?;
        let guard = self.cursors.guard(name, from)?;
        let end = self.write_cursor(name, Some(guard.lsn().get()))?;
        self.syncer.sync_until(end)?;
        self.cursors.add(&Arc::from(name), guard, end);
        Ok(())
    }

    /// Appends the mark of a cursor, and returns where it ends. No other one is appended meanwhile.
    fn write_cursor(&self, name: &str, position: Option<u64>) -> Result<u64> {
        let mark = Mark::Cursor {
            name: Arc::from(name),
            position,
        };
        match self.append_mark(mark.clone()) {
            // The reserve is used up: truncating must be possible all the same.
            Err(WalError::LogFull { .. }) => self.mark_in_control_file(&mark),
            appended => appended.map(|(_, end)| end),
        }
    }

    /// Writes how far the consumer has come, and returns where the log ends that has to be durable
    /// for that.
    pub(crate) fn log_cursor(&self, name: &str) -> Result<u64> {
        let _alone = self.cursors.alone();
        let (position, last) = self.cursors.unwritten(name);
        match (position, last) {
            (Some(position), _) => {
                let end = self.write_cursor(name, Some(position))?;
                self.cursors.logged(name, position, end);
                Ok(end)
            }
            (None, Some(end)) => Ok(end),
            (None, None) => Ok(0),
        }
    }

    /// Appends all positions that are in memory only: the log is about to be closed.
    pub(crate) fn log_cursors(&self) -> Result<()> {
        if self.cursors.is_dirty() {
            for (name, _) in self.cursors.take_dirty() {
                self.log_cursor(&name)?;
            }
        }
        Ok(())
    }
}
