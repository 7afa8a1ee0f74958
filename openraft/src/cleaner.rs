//! Frees space: the calls of the disk that it takes keep no executor.

use crate::error::StoreError;
use highwater_wal::{Lsn, Wal};
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Truncates a log, in a thread of its own while there is something to do.
#[derive(Debug)]
pub(crate) struct Cleaner {
    wal: Arc<Wal>,
    /// False in tests: the caller waits.
    threads: bool,
    work: Arc<Mutex<Work>>,
}

#[derive(Debug, Default)]
struct Work {
    /// What is to be done next: the newest alone.
    next: Option<Lsn>,
    running: bool,
    failed: Option<highwater_wal::WalError>,
    thread: Option<JoinHandle<()>>,
}

impl Cleaner {
    pub(crate) fn new(wal: Arc<Wal>, threads: bool) -> Self {
        Self {
            wal,
            threads,
            work: Arc::default(),
        }
    }

    /// Gives up what is before `lsn`. An error of the time before is returned here.
    pub(crate) fn truncate_before(&self, lsn: Lsn) -> Result<(), StoreError> {
        if !self.threads {
            return Ok(self.wal.truncate_before(lsn)?);
        }
        let mut work = self.work.lock();
        if let Some(error) = work.failed.take() {
            return Err(error.into());
        }
        work.next = Some(lsn);
        if work.running {
            return Ok(());
        }
        // It has left its loop: what is left of it is let go of, the log above all.
        if let Some(ended) = work.thread.take() {
            let _ended = ended.join();
        }
        let (wal, shared) = (Arc::clone(&self.wal), Arc::clone(&self.work));
        let thread = Builder::new()
            .name("raft-log-cleaner".to_owned())
            .spawn(move || run(&wal, &shared))
            .map_err(StoreError::Thread)?;
        work.running = true;
        work.thread = Some(thread);
        Ok(())
    }

    /// Waits until nothing runs.
    pub(crate) fn finish(&self) {
        let thread = self.work.lock().thread.take();
        if let Some(thread) = thread {
            // It does not panic; if it did, there is nothing left to wait for.
            let _ended = thread.join();
        }
    }
}

fn run(wal: &Wal, work: &Mutex<Work>) {
    loop {
        let mut held = work.lock();
        let Some(lsn) = held.next.take() else {
            held.running = false;
            return;
        };
        drop(held);
        if let Err(error) = wal.truncate_before(lsn) {
            work.lock().failed = Some(error);
        }
    }
}
