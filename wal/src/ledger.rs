//! Who rewrites `LOG` while the log is open: truncation, the notes of how far it is durable, closing.

use crate::error::Result;
use crate::meta::{self, LogEnd, Meta};
use highwater_disk::Disk;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// The file `LOG` and what it says. One at a time rewrites it.
#[derive(Debug)]
pub(crate) struct Ledger {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    meta: Mutex<Meta>,
}

impl Ledger {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, meta: Meta) -> Self {
        Self {
            disk,
            dir,
            meta: Mutex::new(meta),
        }
    }

    /// Notes that everything below `durable` is. A frame starts or ends there: recovery reads from there on.
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

    /// Makes `first_lsn` the start of the log, durably. The spare is to be prepared once there is room.
    pub(crate) fn truncate(&self, first_lsn: u64, durable: u64) -> Result<()> {
        self.replace(Some(first_lsn), durable, LogEnd::Open)
    }

    fn replace(&self, first_lsn: Option<u64>, durable: u64, end: LogEnd) -> Result<()> {
        let mut meta = self.meta.lock();
        let next = Meta {
            first_lsn: first_lsn.unwrap_or(meta.first_lsn),
            attested_lsn: durable.max(meta.attested_lsn),
            end,
            ..*meta
        };
        next.replace(&*self.disk, &self.dir)?;
        *meta = next;
        Ok(())
    }

    /// Prepares the file that the next note will use, so that a full disk can be truncated.
    pub(crate) fn prepare_spare(&self) {
        let _alone = self.meta.lock();
        meta::prepare_spare(&*self.disk, &self.dir);
    }
}
