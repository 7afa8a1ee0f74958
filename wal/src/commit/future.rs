//! Waiting for the durable LSN in async code and in other threads.

use crate::commit::flusher::Flusher;
use crate::commit::state::CommitState;
use crate::commit::waiters::{Until, Waiter, Watched, new_id};
use crate::error::Result;
use crate::lsn::Lsn;
use crate::options::choices::Background;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Follows the durable LSN of a log.
#[derive(Debug, Clone)]
pub struct DurableWatch {
    commit: Arc<CommitState>,
}

impl DurableWatch {
    pub(crate) fn new(commit: &Arc<CommitState>) -> Self {
        Self {
            commit: Arc::clone(commit),
        }
    }

    /// The durable LSN now.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let watch = log.watch_durable();
    /// assert_eq!(watch.current(), log.durable_lsn());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn current(&self) -> Lsn {
        Lsn::new(self.commit.durable())
    }

    /// Waits until the durable LSN is past `lsn` and returns it. Does not make anything durable
    /// itself. At [`Wal::end_lsn`](crate::Wal::end_lsn) and beyond it waits for a record that is
    /// not appended yet.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let watch = log.watch_durable();
    /// let lsn = log.append("a record")?;
    /// let waiting = std::thread::spawn(move || watch.changed_after(lsn));
    /// log.sync_to(lsn)?;
    /// assert!(waiting.join().expect("no panic")? > lsn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Closed`](crate::WalError::Closed) or
    /// [`WalError::Poisoned`](crate::WalError::Poisoned) if that will never be.
    pub fn changed_after(&self, lsn: Lsn) -> Result<Lsn> {
        match self.commit.watch(lsn.get(), &Until::default())? {
            Watched::Durable(durable) => Ok(Lsn::new(durable)),
            Watched::TimedOut | Watched::Ended => Err(self.commit.closed_error()),
        }
    }
}

/// Ready once a record is durable: see [`Wal::durable`](crate::Wal::durable).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Durable {
    flusher: Arc<Flusher>,
    lsn: Lsn,
    /// How far the log has to be durable; known from the first poll on.
    until: Option<u64>,
    id: u64,
}

impl Durable {
    pub(crate) fn new(flusher: &Arc<Flusher>, lsn: Lsn) -> Self {
        Self {
            flusher: Arc::clone(flusher),
            lsn,
            until: None,
            id: new_id(),
        }
    }

    fn commit(&self) -> &CommitState {
        &self.flusher.syncer().commit
    }

    fn outcome(&self, until: u64) -> Result<()> {
        if self.commit().durable() >= until {
            return Ok(());
        }
        self.commit().check()?;
        Err(self.commit().closed_error())
    }
}

impl Future for Durable {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.commit().durable() > self.lsn.get() {
            return Poll::Ready(Ok(()));
        }
        let target = || self.flusher.syncer().segments.target_of(self.lsn);
        let until = match self.until.map_or_else(target, Ok) {
            Ok(until) => until,
            Err(error) => return Poll::Ready(Err(error)),
        };
        self.until = Some(until);
        let syncer = self.flusher.syncer();
        if syncer.options.background == Background::Inline {
            return Poll::Ready(syncer.sync_below(until));
        }
        let waiter = Waiter::Future(context.waker().clone());
        if !self.commit().register(until - 1, self.id, waiter) {
            return Poll::Ready(self.outcome(until));
        }
        match self.flusher.ring() {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        if let Some(until) = self.until {
            self.commit().forget(until - 1, self.id);
        }
    }
}
