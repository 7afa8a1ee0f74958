//! `Streams`, the handle of an open directory of streams: the public interface.

use crate::error::{Error, Result};
use crate::interface::position::Position;
use crate::interface::requests::{Append, Appended, Created, From, NewStream, Page, StreamInfo};
use crate::options::{Options, Threads};
use crate::reading::follow::{self, Changed};
use crate::reading::info;
use crate::reading::read::{self, Use};
use crate::reading::when;
use crate::shared::core::Core;
use crate::shared::decision::Decision;
use crate::upkeep::keeper::Keeper;
use crate::writing::append;
use crate::writing::create;
use crate::writing::ids;
use highwater_disk::Disk;
use highwater_wal::Wal;
use parking_lot::Mutex;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

/// The streams of a directory. Share it in an [`Arc`]; every method takes `&self`.
///
/// ```
/// use highwater_streams::{Append, From, NewStream, Options, Streams};
/// # let dir = tempfile::tempdir()?;
/// let streams = Streams::open(dir.path(), Options::new())?;
/// let text = Some("text/plain");
/// streams.create("greetings", &NewStream { content_type: text, ..NewStream::default() })?.wait()??;
/// let hello = Append { content_type: text, messages: &[b"hello"], ..Append::default() };
/// streams.append("greetings", &hello)?.wait()??; // now it is durable
/// let page = streams.read("greetings", From::Start, 1 << 20)?.wait()??;
/// assert_eq!(page.data, b"hello");
/// streams.close()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Streams {
    core: Arc<Core>,
    keeper: Arc<Keeper>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("log", &self.core.wal)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// How much there is, and what has happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Streams, those among them that are deleted and that forks need.
    pub streams: usize,
    /// Bytes of messages that are kept for them.
    pub live_bytes: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// How many wait for a stream to change.
    pub waiting: usize,
    /// Producers that were forgotten: see [`Options::max_producers`].
    pub forgotten_producers: u64,
    /// Streams whose time was over.
    pub expired: u64,
    /// How often a stream gave up its oldest data: see [`Retention`](crate::Retention).
    pub trimmed: u64,
    /// Bytes of messages that were moved, so that the log could be freed before them.
    pub moved_bytes: u64,
    /// Checkpoints of the table.
    pub checkpoints: u64,
}

impl Streams {
    /// Opens the streams in the directory `path`: creates it, or recovers what is there.
    ///
    /// # Errors
    /// [`Error::Log`], as [`Wal::open`]; [`Error::Checkpoint`]; [`Error::Inconsistent`] if the
    /// directory holds what no program of this version writes; [`Error::BadOptions`].
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let wal = Wal::open_with(path.as_ref().join("log"), options.log_options()?)?;
        let threads = options.threads;
        let core = Arc::new(Core::new(wal, options));
        let keeper = Keeper::open(&core, path.as_ref())?;
        let streams = Self {
            core,
            keeper: Arc::new(keeper),
            threads: Mutex::default(),
        };
        if threads == Threads::Own {
            streams.start("highwater-follow", |core, _| follow::follow(core))?;
            streams.start("highwater-keep", |core, keeper| keeper.run(core))?;
        }
        Ok(streams)
    }

    fn start(&self, name: &str, work: impl FnOnce(&Core, &Keeper) + Send + 'static) -> Result<()> {
        let (core, keeper) = (Arc::clone(&self.core), Arc::clone(&self.keeper));
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread
            .spawn(move || work(&core, &keeper))
            .map_err(Error::Thread)?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Creates a stream, or a fork of one. If there is one of this name that was created in the
    /// same way, that is no error, and nothing is appended.
    ///
    /// # Errors
    /// [`Error::Log`]. That the request is refused is no error, but a [`Refusal`](crate::Refusal)
    /// in the decision.
    pub fn create(&self, name: &str, new: &NewStream<'_>) -> Result<Decision<Created>> {
        create::create(&self.core, name, new)
    }

    /// Appends to a stream, or closes it.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn append(&self, name: &str, request: &Append<'_>) -> Result<Decision<Appended>> {
        append::append(&self.core, name, request)
    }

    /// Deletes a stream. Its name is free then; if there are forks of it, when they are deleted.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn delete(&self, name: &str) -> Result<Decision<()>> {
        append::delete(&self.core, name)
    }

    /// What a stream is. To ask is no use of it: it lives no longer.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn look(&self, name: &str) -> Result<Decision<StreamInfo>> {
        info::look(&self.core, name)
    }

    /// The content type of a stream, to form a request by. It may not last: it is nothing to tell.
    #[must_use]
    pub fn content_type_hint(&self, name: &str) -> Option<Arc<str>> {
        info::content_type_hint(&self.core, name)
    }

    /// Reads up to `limit` bytes of messages of a stream, as far as they are durable. At least one
    /// message is read, if there is one, however long it is.
    ///
    /// # Errors
    /// As [`Self::create`]; [`Error::Inconsistent`].
    pub fn read(&self, name: &str, from: From, limit: usize) -> Result<Decision<Page>> {
        read::read(&self.core, name, from, limit, Use::Counts)
    }

    /// As [`Self::read`], to go on with a read that waited for more: it is no new use of the
    /// stream.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_on(&self, name: &str, from: From, limit: usize) -> Result<Decision<Page>> {
        read::read(&self.core, name, from, limit, Use::GoesOn)
    }

    /// The first position of a stream whose message was received at `wall_ms` (milliseconds since
    /// the Unix epoch) or later; its end, if there is none. It follows the wall clock: where that
    /// went back, a position near it may be told. Where old data was moved, a position that is too
    /// early.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn position_at(&self, name: &str, wall_ms: u64) -> Result<Decision<Position>> {
        when::position_at(&self.core, name, wall_ms)
    }

    /// Names of streams that begin with `prefix`, in their order, as far as they are durable:
    /// `most` of them. It looks at every stream.
    #[must_use]
    pub fn names(&self, prefix: &str, most: usize) -> Vec<String> {
        info::names(&self.core, prefix, most)
    }

    /// An id that no other producer of these streams has, or will have: for
    /// [`Batch`](crate::Batch).
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn new_producer_id(&self) -> Result<Decision<u64>> {
        ids::new_producer_id(&self.core)
    }

    /// The identity of the log: no other one has it.
    #[must_use]
    pub fn log_id(&self) -> u128 {
        self.core.wal.log_id()
    }

    /// Waits until a stream has more than up to `after`, is closed, or is gone. `number` is in
    /// [`StreamInfo`].
    pub fn changed(&self, number: u64, after: Position) -> Changed {
        Changed::new(&self.core, number, after)
    }

    /// The longest body that always fits into a request.
    #[must_use]
    pub fn max_body_bytes(&self) -> usize {
        self.core.max_body_bytes()
    }

    /// The disk that they are on.
    #[must_use]
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.core.options.disk)
    }

    /// What the wall clock shows, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        self.core.wall_ms()
    }

    /// Does what is due beside requests: what threads do on their own, unless there are
    /// [none](Options::without_threads).
    ///
    /// # Errors
    /// [`Error::Log`], [`Error::Checkpoint`].
    pub fn tend(&self) -> Result<()> {
        follow::wake(&self.core);
        self.keeper.tend(&self.core)
    }

    /// Writes the table beside the log now, so that the next start reads nothing else.
    ///
    /// # Errors
    /// [`Error::Log`], [`Error::Checkpoint`].
    pub fn checkpoint(&self) -> Result<()> {
        self.keeper.checkpoint(&self.core)
    }

    /// How much there is, and what has happened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let core = &self.core;
        let counters = &core.counters;
        Stats {
            streams: core.streams.load(Ordering::Relaxed),
            live_bytes: counters.live_bytes.load(Ordering::Relaxed),
            log_bytes: core.wal.end_lsn().bytes_since(core.wal.first_lsn()),
            waiting: core.waiters.count(),
            forgotten_producers: counters.forgotten_producers.load(Ordering::Relaxed),
            expired: counters.expired.load(Ordering::Relaxed),
            trimmed: counters.trimmed.load(Ordering::Relaxed),
            moved_bytes: counters.moved_bytes.load(Ordering::Relaxed),
            checkpoints: counters.checkpoints.load(Ordering::Relaxed),
        }
    }

    /// Bytes of memory that the table takes. It looks at every stream.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.core.table.each().map(|part| part.bytes()).sum()
    }

    /// Makes everything durable, and closes the log. Those who wait are woken; what is asked after
    /// it fails.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub fn close(&self) -> Result<()> {
        self.keeper.stop();
        let closed = self.core.wal.close();
        self.core.waiters.end();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _ = thread.join();
        }
        closed.map_err(Error::from)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "closing the streams");
        }
    }
}
