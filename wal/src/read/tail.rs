//! Following the log: records as they become durable.

use crate::commit::waiters::{Until, Waiter, Watched, new_id};
use crate::error::Result;
use crate::log::shared::Shared;
use crate::lsn::{Lsn, StreamId};
use crate::read::reader::{Reader, Record};
use std::future::poll_fn;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// Reads records as they become durable, and makes none so. As an iterator it blocks the thread for
/// the next one. [`Self::next_timeout`] waits for a bounded time; [`Self::recv`] blocks only its
/// task. It ends when the log is closed and everything was read, when it is stopped
/// ([`Self::stopper`]), and after the first error.
///
/// To go on later, tail from the LSN of the last record: it is returned again, with all of its
/// batch. As long as the tail lives, also when it has ended, it pins the log from the segment in
/// which its position lies.
#[derive(Debug)]
pub struct Tail {
    reader: Reader,
    shared: Arc<Shared>,
    stop: Arc<Stop>,
    failed: bool,
}

/// What [`Tail::next_timeout`] found.
#[derive(Debug)]
pub enum Tailed {
    /// The next record.
    Record(Record),
    /// None became durable in time.
    TimedOut,
    /// There will be no more.
    Ended,
}

/// Ends a [`Tail`] from another thread: see [`Tail::stopper`].
#[derive(Debug, Clone)]
pub struct TailStopper {
    shared: Arc<Shared>,
    stop: Arc<Stop>,
}

#[derive(Debug)]
struct Stop {
    /// Of the tail, among those who wait.
    id: u64,
    stopped: AtomicBool,
}

impl Stop {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl TailStopper {
    /// Ends the tail: it returns nothing more, and a call that waits in it returns now.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let tail = log.tail(log.end_lsn())?;
    /// let stopper = tail.stopper();
    /// let follower = std::thread::spawn(move || tail.count());
    /// stopper.stop();
    /// assert_eq!(follower.join().expect("no panic"), 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(&self) {
        // Release pairs with the acquire of the waiters that are roused.
        self.stop.stopped.store(true, Ordering::Release);
        self.shared.commit.rouse(self.stop.id);
    }
}

impl Tail {
    pub(crate) fn open(shared: &Arc<Shared>, from: Lsn) -> Result<Self> {
        Ok(Self {
            reader: Reader::follow(shared, from)?,
            shared: Arc::clone(shared),
            stop: Arc::new(Stop {
                id: new_id(),
                stopped: AtomicBool::new(false),
            }),
            failed: false,
        })
    }

    /// Follows this stream only. Of other streams it reads and checks the headers.
    ///
    /// ```
    /// use highwater_wal::{AppendOptions, StreamId};
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let mut tail = log.tail(log.end_lsn())?.only(StreamId(2));
    /// let _ = log.append("of the default stream")?;
    /// let lsn = log.append_with(&AppendOptions::new().stream(StreamId(2)), "of stream 2")?;
    /// assert_eq!(tail.next().expect("a record")?.lsn, lsn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn only(mut self, stream: StreamId) -> Self {
        self.reader.cursor().keep_to(stream);
        self
    }

    /// Says who reads, for [`Wal::holds`](crate::Wal::holds) and the error of a full log.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let reader = log.tail(log.first_lsn())?.named("the nightly export");
    /// assert_eq!(log.holds()[0].name, "the nightly export");
    /// # drop(reader);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn named(mut self, name: impl AsRef<str>) -> Self {
        self.reader.cursor().rename(name.as_ref());
        self
    }

    /// What ends this tail, for another thread to keep.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let mut tail = log.tail(log.end_lsn())?;
    /// tail.stopper().stop();
    /// assert!(tail.next().is_none());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn stopper(&self) -> TailStopper {
        TailStopper {
            shared: Arc::clone(&self.shared),
            stop: Arc::clone(&self.stop),
        }
    }

    /// The next record, if it is durable already or becomes so within `timeout`, by the log's
    /// clock.
    ///
    /// ```
    /// use highwater_wal::{Tailed, Wal};
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// let log = Wal::open(dir.path())?;
    /// let mut tail = log.tail(log.first_lsn())?;
    /// let lsn = log.append("a record")?;
    /// assert!(matches!(tail.next_timeout(Duration::ZERO)?, Tailed::TimedOut), "not durable yet");
    /// log.sync_to(lsn)?;
    /// assert!(matches!(tail.next_timeout(Duration::from_secs(1))?, Tailed::Record(_)));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Poisoned`](crate::WalError::Poisoned) if a sync failed,
    /// [`WalError::Corrupt`](crate::WalError::Corrupt) if the log is damaged there,
    /// [`WalError::Io`](crate::WalError::Io). The tail has ended then.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Tailed> {
        let now = self.shared.options.clock.now();
        self.next_by(Some(now.saturating_add(timeout)))
    }

    /// The next record, once it is durable; the task sleeps until then. Needs no particular
    /// runtime. Dropping the future loses nothing. Reading itself blocks for as long as the disk
    /// takes, if the record is not in memory any more.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let mut tail = log.tail(log.end_lsn())?;
    /// let lsn = log.append("news")?;
    /// log.durable(lsn).await?;
    /// let record = tail.recv().await.expect("the log is open")?;
    /// assert_eq!(record.lsn, lsn);
    /// # Ok::<_, highwater_wal::WalError>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::next_timeout`].
    pub async fn recv(&mut self) -> Option<Result<Record>> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Record>>> {
        loop {
            match self.next_by(Some(Duration::ZERO)) {
                Ok(Tailed::Record(record)) => return Poll::Ready(Some(Ok(record))),
                Ok(Tailed::Ended) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(Tailed::TimedOut) => {}
            }
            let lsn = self.reader.position().get();
            let waiter = Waiter::Tail(context.waker().clone());
            let registered = self.shared.commit.register(lsn, self.stop.id, waiter);
            // A stop after the look above either finds the waker or is seen here.
            if registered && !self.stop.is_stopped() {
                return Poll::Pending;
            }
        }
    }

    /// The next record; waits for it until `deadline` of the log's clock, if there is one.
    fn next_by(&mut self, deadline: Option<Duration>) -> Result<Tailed> {
        let found = self.look(deadline);
        self.failed |= found.is_err();
        found
    }

    fn look(&mut self, deadline: Option<Duration>) -> Result<Tailed> {
        loop {
            if self.failed || self.stop.is_stopped() {
                return Ok(Tailed::Ended);
            }
            if let Some(record) = self.reader.next() {
                return Ok(Tailed::Record(record?));
            }
            let until = Until {
                stopped: Some(&self.stop.stopped),
                deadline: deadline.map(|deadline| (&*self.shared.options.clock, deadline)),
            };
            let position = self.reader.position().get();
            match self.shared.commit.watch(position, &until)? {
                Watched::Durable(durable) => self.reader.cursor().extend(durable),
                Watched::TimedOut => return Ok(Tailed::TimedOut),
                Watched::Ended => return Ok(Tailed::Ended),
            }
        }
    }
}

impl Iterator for Tail {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_by(None) {
            Ok(Tailed::Record(record)) => Some(Ok(record)),
            Ok(Tailed::TimedOut | Tailed::Ended) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl FusedIterator for Tail {}

impl Drop for Tail {
    fn drop(&mut self) {
        let position = self.reader.position().get();
        self.shared.commit.forget(position, self.stop.id);
    }
}
