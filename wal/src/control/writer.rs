//! Rewrites the control file while the log is open: at truncations, as the log goes on, and at the
//! end.

use crate::control::file::{self, ControlFile, LogEnd};
use crate::error::Result;
use crate::facade::tracing;
use highwater_disk::Disk;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// The control file and its contents. One thread at a time rewrites it.
#[derive(Debug)]
pub(crate) struct ControlFileWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    state: Mutex<State>,
    /// A durable LSN that is to be written when there is time.
    scheduled: Mutex<Option<u64>>,
}

#[derive(Debug)]
struct State {
    contents: ControlFile,
    /// This instance has written its end.
    closed: bool,
}

impl ControlFileWriter {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, contents: ControlFile) -> Self {
        Self {
            disk,
            dir,
            state: Mutex::new(State {
                contents,
                closed: false,
            }),
            scheduled: Mutex::new(None),
        }
    }

    /// Writes that everything below `durable` is. A frame starts or ends there: recovery reads from
    /// there on. A write that comes late, after a truncation or the end, changes nothing.
    pub(crate) fn write_durable(&self, durable: u64) -> Result<()> {
        self.replace(None, durable, LogEnd::Open)?;
        self.prepare_spare();
        Ok(())
    }

    /// Has [`Self::write_scheduled`] write that everything below `durable` is.
    pub(crate) fn schedule(&self, durable: u64) {
        *self.scheduled.lock() = Some(durable);
    }

    /// Writes what was scheduled; false if nothing was. After a failure the next opening reads
    /// more, nothing else.
    pub(crate) fn write_scheduled(&self) -> bool {
        let Some(durable) = self.scheduled.lock().take() else {
            return false;
        };
        if let Err(error) = self.write_durable(durable) {
            tracing::debug!(dir = %self.dir.display(), %error, "progress could not be written to LOG");
        }
        true
    }

    /// Writes that the log ends at `end`, with a close frame.
    pub(crate) fn write_closed(&self, end: u64) -> Result<()> {
        self.replace(None, end, LogEnd::Closed)?;
        self.prepare_spare();
        Ok(())
    }

    /// Makes `first_lsn` the start of the log, durably. The spare is to be prepared once there is
    /// room.
    pub(crate) fn write_first(&self, first_lsn: u64, durable: u64) -> Result<()> {
        self.replace(Some(first_lsn), durable, LogEnd::Open)
    }

    fn replace(&self, first_lsn: Option<u64>, durable: u64, end: LogEnd) -> Result<()> {
        let mut state = self.state.lock();
        let State { contents, closed } = &mut *state;
        let late = *closed || durable <= contents.attested_lsn;
        if first_lsn.is_none() && end == LogEnd::Open && late {
            return Ok(());
        }
        let next = ControlFile {
            first_lsn: first_lsn.unwrap_or(contents.first_lsn),
            attested_lsn: match end {
                LogEnd::Open => durable.max(contents.attested_lsn),
                // Where the close frame ends, though its padding, if groups are sealed, may have
                // been written before.
                LogEnd::Closed => durable,
            },
            end,
            ..*contents
        };
        next.replace(&*self.disk, &self.dir)?;
        *contents = next;
        *closed = end == LogEnd::Closed;
        Ok(())
    }

    /// Prepares the file that the next write will use, so that a full disk can be truncated.
    pub(crate) fn prepare_spare(&self) {
        let _alone = self.state.lock();
        file::prepare_spare(&*self.disk, &self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_disk::SimDisk;
    use std::path::Path;

    /// A writer for a new log that is durable up to 10, and a reader of its control file: how far
    /// the log is durable, and whether it ends there.
    fn writer() -> (ControlFileWriter, impl Fn() -> (u64, LogEnd)) {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let dir = Path::new("/log");
        disk.create_dir_all(dir).unwrap();
        let contents = ControlFile {
            log_id: 1,
            first_lsn: 0,
            attested_lsn: 10,
            reach: 0,
            end: LogEnd::Open,
        };
        let writer = ControlFileWriter::new(Arc::clone(&disk), dir.to_owned(), contents);
        let read = move || {
            let contents = ControlFile::read(&*disk, dir).unwrap().unwrap();
            (contents.attested_lsn, contents.end)
        };
        (writer, read)
    }

    /// A write that was still scheduled when the log was closed took the mark of the clean end
    /// away.
    #[test]
    fn a_late_write_changes_nothing() {
        let (writer, read) = writer();
        writer.write_durable(20).unwrap();
        assert_eq!(read(), (20, LogEnd::Open));
        writer.write_closed(30).unwrap();
        for late in [25, 30, 4096] {
            writer.write_durable(late).unwrap();
            assert_eq!(read(), (30, LogEnd::Closed));
        }
    }

    /// With sealed groups the close frame's group ends after it, in a padding, and may be written
    /// as durable before the end is. The control file then claimed that a close frame ends where
    /// the padding does, and the log was refused.
    #[test]
    fn the_end_is_where_the_close_frame_ends() {
        let (writer, read) = writer();
        writer.write_durable(4096).unwrap();
        writer.write_closed(30).unwrap();
        assert_eq!(read(), (30, LogEnd::Closed));
    }
}
