//! Following the durable frontier: tails, watches, futures.

use crate::commit::Registered;
use crate::error::{Result, WalError};
use crate::lsn::{Lsn, StreamId};
use crate::options::Background;
use crate::reader::{Reader, Record};
use crate::shared::Shared;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// Reads records as they become durable. Ends when the log is closed and everything was read.
#[derive(Debug)]
pub struct Tail {
    reader: Reader,
    shared: Arc<Shared>,
}

impl Tail {
    pub(crate) fn open(shared: &Arc<Shared>, from: Lsn) -> Result<Self> {
        let durable = Lsn::new(shared.commit.durable());
        Ok(Self {
            reader: Reader::open(shared, from, durable)?,
            shared: Arc::clone(shared),
        })
    }
}

impl Tail {
    /// Follows this stream only. Of the others just the headers are read, and checked.
    #[must_use]
    pub fn only(mut self, stream: StreamId) -> Self {
        self.reader = self.reader.only(stream);
        self
    }
}

impl Iterator for Tail {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.reader.next() {
                return Some(record);
            }
            match self.shared.commit.watch(self.reader.position().get()) {
                Ok(Some(durable)) => self.reader.cursor().extend(durable),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Follows the durable frontier of a log.
#[derive(Debug, Clone)]
pub struct DurableWatch {
    shared: Arc<Shared>,
}

impl DurableWatch {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
        }
    }

    /// The frontier now.
    pub fn current(&self) -> Lsn {
        Lsn::new(self.shared.commit.durable())
    }

    /// Waits until the frontier is past `lsn` and returns it. Does not make anything durable itself.
    ///
    /// # Errors
    /// [`WalError::Closed`] or [`WalError::Poisoned`] if it never will be.
    pub fn changed_after(&self, lsn: Lsn) -> Result<Lsn> {
        match self.shared.commit.watch(lsn.get())? {
            Some(durable) => Ok(Lsn::new(durable)),
            None => Err(WalError::Closed {
                dir: self.shared.dir.clone(),
            }),
        }
    }
}

/// Ready once a record is durable: see [`Wal::durable`](crate::Wal::durable).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Durable {
    shared: Arc<Shared>,
    lsn: Lsn,
    id: u64,
}

impl Durable {
    pub(crate) fn new(shared: &Arc<Shared>, lsn: Lsn) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(shared),
            lsn,
            id,
        }
    }

    fn outcome(&self) -> Result<()> {
        if self.shared.commit.durable() > self.lsn.get() {
            return Ok(());
        }
        self.shared.commit.check()?;
        Err(WalError::Closed {
            dir: self.shared.dir.clone(),
        })
    }
}

impl Future for Durable {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let commit = &self.shared.commit;
        if commit.durable() > self.lsn.get() {
            return Poll::Ready(Ok(()));
        }
        if let Err(error) = self.shared.check_exists(self.lsn) {
            return Poll::Ready(Err(error));
        }
        if self.shared.options.background == Background::Inline {
            return Poll::Ready(self.shared.sync_until(self.lsn.get() + 1));
        }
        if commit.register(self.lsn.get(), self.id, context.waker()) == Registered::NoNeed {
            return Poll::Ready(self.outcome());
        }
        match self.shared.ring_flusher() {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        self.shared.commit.forget(self.lsn.get(), self.id);
    }
}
