//! Waiting for room in a log at its bound.

use crate::commit::waiters::Until;
use crate::error::Result;
use crate::log::handle::Wal;
use crate::log::shared::Shared;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Those who wait for room. What they wait for changes before [`Self::look`] is called, which takes
/// the lock under which they look: no change is missed.
#[derive(Debug, Default)]
pub(crate) struct Room {
    tasks: Mutex<BTreeMap<u64, Waker>>,
    next_id: AtomicU64,
    changed: Condvar,
}

impl Room {
    /// Has everybody who waits look again: the log was truncated, closed or poisoned.
    pub(crate) fn look(&self) {
        let tasks = {
            let mut tasks = self.tasks.lock();
            self.changed.notify_all();
            std::mem::take(&mut *tasks)
        };
        // Not under the lock: a waker may own its task, and that whatever else waits here.
        tasks.into_values().for_each(Waker::wake);
    }
}

/// What became of waiting for room: see [`Wal::wait_for_room_timeout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// There is room.
    Room,
    /// There was none in time.
    TimedOut,
}

impl Wal {
    /// Waits until a log at its bound ([`Options::max_bytes`](crate::Options::max_bytes)) has room
    /// again for an ordinary record of any size that it accepts. Somebody else has to truncate it.
    /// Returns at once if there is room, or no bound. Others may take the room first: append in a
    /// loop.
    ///
    /// ```
    /// use highwater_wal::{Options, Wal, WalError};
    /// # let dir = tempfile::tempdir()?;
    /// let log = Wal::open_with(dir.path(), Options::new().segment_size(64 << 10).max_bytes(256 << 10))?;
    /// let lsn = loop {
    ///     match log.append("a record") {
    ///         Err(WalError::LogFull { .. }) => log.wait_for_room()?,
    ///         appended => break appended?,
    ///     }
    /// };
    /// # let _ = lsn;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A full disk is something else: that is [`WalError::Io`](crate::WalError::Io), and this does
    /// not wait for it.
    ///
    /// # Errors
    /// [`WalError::Closed`](crate::WalError::Closed) or
    /// [`WalError::Poisoned`](crate::WalError::Poisoned), also if that happens meanwhile.
    pub fn wait_for_room(&self) -> Result<()> {
        match self.shared.await_room(&Until::default())? {
            Waited::Room => Ok(()),
            Waited::TimedOut => unreachable!("there is no deadline"),
        }
    }

    /// As [`Self::wait_for_room`], for `timeout` by the log's clock at most.
    ///
    /// # Errors
    /// As [`Self::wait_for_room`].
    pub fn wait_for_room_timeout(&self, timeout: Duration) -> Result<Waited> {
        let clock = &*self.shared.clock;
        let until = Until {
            stopped: None,
            deadline: Some((clock, clock.now().saturating_add(timeout))),
        };
        self.shared.await_room(&until)
    }

    /// A future that is ready once [`Self::wait_for_room`] would return. Works with any executor;
    /// dropping it has no effect.
    ///
    /// # Errors
    /// As [`Self::wait_for_room`].
    #[must_use = "futures do nothing unless awaited"]
    pub fn room(&self) -> RoomFuture {
        RoomFuture {
            id: self.shared.room.next_id.fetch_add(1, Ordering::Relaxed),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// Ready once the log has room: see [`Wal::room`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct RoomFuture {
    shared: Arc<Shared>,
    id: u64,
}

impl Future for RoomFuture {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = context.waker().clone();
        let mut tasks = self.shared.room.tasks.lock();
        if let Some(outcome) = self.shared.room_or_end() {
            return Poll::Ready(outcome);
        }
        let old = tasks.insert(self.id, waker);
        drop(tasks);
        drop(old);
        Poll::Pending
    }
}

impl Drop for RoomFuture {
    fn drop(&mut self) {
        let unwanted = self.shared.room.tasks.lock().remove(&self.id);
        drop(unwanted);
    }
}

impl Shared {
    /// There is room, or there never will be; `None` if waiting may help.
    fn room_or_end(&self) -> Option<Result<()>> {
        if let Err(error) = self.commit.check() {
            return Some(Err(error));
        }
        if self.is_shut() {
            return Some(Err(self.closed_error()));
        }
        self.has_room().then_some(Ok(()))
    }

    fn await_room(&self, until: &Until<'_>) -> Result<Waited> {
        let mut tasks = self.room.tasks.lock();
        loop {
            if let Some(outcome) = self.room_or_end() {
                return outcome.map(|()| Waited::Room);
            }
            match until.left() {
                None => self.room.changed.wait(&mut tasks),
                Some(Duration::ZERO) => return Ok(Waited::TimedOut),
                Some(left) => {
                    let _ = self.room.changed.wait_for(&mut tasks, left);
                }
            }
        }
    }
}
