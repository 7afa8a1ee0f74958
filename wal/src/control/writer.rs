//! Rewrites the control file while the log is open: at truncations, as the log goes on, and at the
//! end.

use crate::control::features::Feature;
use crate::control::file::{self, ControlFile, LogEnd};
use crate::error::Result;
use crate::facade::tracing;
use crate::format::mark::Mark;
use crate::marks::live::LiveMarks;
use crate::time::log_time::LogTime;
use highwater_disk::Disk;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// The control file and its contents. One thread at a time rewrites it.
#[derive(Debug)]
pub(crate) struct ControlFileWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    marks: Arc<LiveMarks>,
    time: Arc<LogTime>,
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
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        contents: ControlFile,
        marks: &Arc<LiveMarks>,
        time: &Arc<LogTime>,
    ) -> Self {
        Self {
            disk,
            dir,
            marks: Arc::clone(marks),
            time: Arc::clone(time),
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
        self.replace(|contents, closed| {
            if closed || durable <= contents.attested_lsn {
                return None;
            }
            Some(self.progress(contents, durable))
        })?;
        self.prepare_spare();
        Ok(())
    }

    /// What it says once the log is durable up to `durable`.
    fn progress(&self, contents: &ControlFile, durable: u64) -> ControlFile {
        let (position, marks) = self.marks.as_of(durable, contents.first_lsn);
        ControlFile {
            // Marks between the two may be missing in what was written last.
            attested_lsn: position.max(contents.attested_lsn),
            end: LogEnd::Open,
            time_ms: match contents.features.contains(Feature::Time) {
                true => self.time.last_ms(),
                false => 0,
            },
            marks,
            ..contents.clone()
        }
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
        self.replace(|contents, _| {
            // The last group has no record of its time.
            let _now = self.time.now_ms();
            Some(ControlFile {
                // Where the close frame ends, though its padding, if groups are sealed, may have
                // been written before.
                attested_lsn: end,
                end: LogEnd::Closed,
                ..self.progress(contents, end)
            })
        })?;
        self.prepare_spare();
        Ok(())
    }

    /// Makes `first_lsn` the start of the log, durably. The spare is to be prepared once there is
    /// room.
    pub(crate) fn write_first(&self, first_lsn: u64, durable: u64) -> Result<()> {
        self.replace(|contents, _| {
            let contents = ControlFile {
                first_lsn,
                ..contents.clone()
            };
            Some(self.progress(&contents, durable))
        })
    }

    /// Writes what `mark` says, in a log that is durable up to `durable`. Opening reads the marks
    /// after the position that is written with it.
    pub(crate) fn write_mark(&self, mark: &Mark, durable: u64) -> Result<()> {
        // Before it is written: another thread that replaced the file right after would leave it
        // out again.
        self.marks.add(mark, durable);
        self.replace(|contents, closed| (!closed).then(|| self.progress(contents, durable)))?;
        self.prepare_spare();
        Ok(())
    }

    /// Names `feature`, durably, if it is not named yet: before the first frame that needs it.
    pub(crate) fn enable(&self, feature: Feature) -> Result<()> {
        if self.state.lock().contents.features.contains(feature) {
            return Ok(());
        }
        self.replace(|contents, closed| {
            (!closed).then(|| ControlFile {
                features: contents.features.with(feature),
                ..contents.clone()
            })
        })?;
        self.prepare_spare();
        Ok(())
    }

    /// Writes what `next` makes of the contents, if it makes something. It is also told whether
    /// this instance has written its end.
    fn replace(&self, next: impl FnOnce(&ControlFile, bool) -> Option<ControlFile>) -> Result<()> {
        let mut state = self.state.lock();
        let State { contents, closed } = &mut *state;
        let Some(next) = next(contents, *closed) else {
            return Ok(());
        };
        next.replace(&*self.disk, &self.dir)?;
        *closed = next.end == LogEnd::Closed;
        *contents = next;
        Ok(())
    }

    /// Prepares the file that the next write will use, so that a full disk can be truncated.
    pub(crate) fn prepare_spare(&self) {
        let state = self.state.lock();
        file::prepare_spare(&*self.disk, &self.dir, &state.contents);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::features::Features;
    use crate::marks::set::Marks;
    use highwater_disk::{Clock, OsClock, SimDisk};
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
            features: Features::default(),
            time_ms: 0,
            marks: Marks::default(),
        };
        let marks = Arc::<LiveMarks>::default();
        let clock: Arc<dyn Clock> = Arc::new(OsClock::new());
        let time = Arc::new(LogTime::new(&clock, 0));
        let writer =
            ControlFileWriter::new(Arc::clone(&disk), dir.to_owned(), contents, &marks, &time);
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
