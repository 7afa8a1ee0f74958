//! Who rewrites `LOG` while the log is open: truncation, the notes of how far it is durable,
//! closing.

use crate::control::file::{self, LogEnd, Meta};
use crate::error::Result;
use highwater_disk::Disk;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// The file `LOG` and what it says. One at a time rewrites it.
#[derive(Debug)]
pub(crate) struct Ledger {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    meta: Meta,
    /// This instance has noted its end.
    closed: bool,
}

impl Ledger {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, meta: Meta) -> Self {
        Self {
            disk,
            dir,
            state: Mutex::new(State {
                meta,
                closed: false,
            }),
        }
    }

    /// Notes that everything below `durable` is. A frame starts or ends there: recovery reads from
    /// there on. A note that comes late, behind a truncation or the end, has nothing to say.
    pub(crate) fn attest(&self, durable: u64) -> Result<()> {
        self.replace(None, durable, LogEnd::Open)?;
        self.prepare_spare();
        Ok(())
    }

    /// Notes that the log ends at `durable`, with a close frame.
    pub(crate) fn close(&self, durable: u64) -> Result<()> {
        self.replace(None, durable, LogEnd::Closed)?;
        self.prepare_spare();
        Ok(())
    }

    /// Makes `first_lsn` the start of the log, durably. The spare is to be prepared once there is
    /// room.
    pub(crate) fn truncate(&self, first_lsn: u64, durable: u64) -> Result<()> {
        self.replace(Some(first_lsn), durable, LogEnd::Open)
    }

    fn replace(&self, first_lsn: Option<u64>, durable: u64, end: LogEnd) -> Result<()> {
        let mut state = self.state.lock();
        let State { meta, closed } = &mut *state;
        let late = *closed || durable <= meta.attested_lsn;
        if first_lsn.is_none() && end == LogEnd::Open && late {
            return Ok(());
        }
        let next = Meta {
            first_lsn: first_lsn.unwrap_or(meta.first_lsn),
            attested_lsn: match end {
                LogEnd::Open => durable.max(meta.attested_lsn),
                // Where the close frame ends, though its padding, if groups are sealed, may have
                // been noted before.
                LogEnd::Closed => durable,
            },
            end,
            ..*meta
        };
        next.replace(&*self.disk, &self.dir)?;
        *meta = next;
        *closed = end == LogEnd::Closed;
        Ok(())
    }

    /// Prepares the file that the next note will use, so that a full disk can be truncated.
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

    /// Of a new log that is noted as durable up to 10; and what its `LOG` says: how far, and
    /// whether it ends there.
    fn ledger() -> (Ledger, impl Fn() -> (u64, LogEnd)) {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let dir = Path::new("/log");
        disk.create_dir_all(dir).unwrap();
        let meta = Meta {
            log_id: 1,
            first_lsn: 0,
            attested_lsn: 10,
            reach: 0,
            end: LogEnd::Open,
        };
        let ledger = Ledger::new(Arc::clone(&disk), dir.to_owned(), meta);
        let said = move || {
            let meta = Meta::read(&*disk, dir).unwrap().unwrap();
            (meta.attested_lsn, meta.end)
        };
        (ledger, said)
    }

    /// A note that the preparer had still to make, when the log was closed, took the mark of the
    /// clean end away.
    #[test]
    fn a_late_note_changes_nothing() {
        let (ledger, said) = ledger();
        ledger.attest(20).unwrap();
        assert_eq!(said(), (20, LogEnd::Open));
        ledger.close(30).unwrap();
        for late in [25, 30, 4096] {
            ledger.attest(late).unwrap();
            assert_eq!(said(), (30, LogEnd::Closed));
        }
    }

    /// With sealed groups the close frame's group ends behind it, in a padding, and may be noted as
    /// durable before the end is: `LOG` then said that a close frame ends where the padding does,
    /// and the log was refused.
    #[test]
    fn the_end_is_where_the_close_frame_ends() {
        let (ledger, said) = ledger();
        ledger.attest(4096).unwrap();
        ledger.close(30).unwrap();
        assert_eq!(said(), (30, LogEnd::Closed));
    }
}
