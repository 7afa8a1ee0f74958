//! `Wal`, the handle of an open log: the public interface.

use crate::commit::future::{Durable, DurableWatch};
use crate::error::Result;
#[cfg(doc)]
use crate::error::WalError;
use crate::facade::tracing;
use crate::log::open;
use crate::log::room::RoomFuture;
use crate::log::shared::Shared;
use crate::lsn::Lsn;
use crate::metrics::stats::Stats;
use crate::options::choices::Durability;
use crate::options::settings::Options;
use crate::read::chunk::Chunk;
use crate::read::headers::FrameHeaders;
use crate::read::reader::{Reader, Record};
use crate::read::reverse::ReverseReader;
use crate::read::tail::Tail;
use crate::recovery::cases::Recovery;
use crate::recovery::fitness;
use crate::recovery::open::exists;
use crate::retention::guard::{LogHold, RetentionGuard};
use crate::retention::room::RoomWait;
use crate::segment::live::SegmentRange;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// An open log. Share it by reference or in an [`Arc`]; every method takes `&self`.
///
/// ```
/// # fn main() -> highwater_wal::Result<()> {
/// # let dir = tempfile::tempdir().expect("a temporary directory");
/// use highwater_wal::{Lsn, Wal};
///
/// let log = Wal::open(dir.path().join("log"))?;
/// let lsn = log.append("hello")?; // ordered, not yet durable
/// log.sync_to(lsn)?;              // now it is
/// for record in log.read_from(Lsn::ZERO)? {
///     assert_eq!(&record?.payload[..], b"hello");
/// }
/// log.close()
/// # }
/// ```
pub struct Wal {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("dir", &self.shared.dir)
            .field("first_lsn", &self.first_lsn())
            .field("durable_lsn", &self.durable_lsn())
            .finish_non_exhaustive()
    }
}

impl Wal {
    /// Opens the log in the directory `path`, with the default [`Options`]: creates it, or recovers
    /// what is there.
    ///
    /// ```
    /// use highwater_wal::{Case, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let log = Wal::open(dir.path().join("log"))?;
    /// assert_eq!(log.recovery().case, Case::Created);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Locked`] if another handle or process has it open; [`WalError::Corrupt`] if
    /// durable records are damaged; [`WalError::NewerFormat`], [`WalError::BadDirectory`],
    /// [`WalError::UnsafeFileSystem`], [`WalError::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Options::new())
    }

    /// Opens the log in the directory `path`. A relative one is resolved now: changing the working
    /// directory later changes nothing.
    ///
    /// ```
    /// use highwater_wal::{Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(1 << 20).max_bytes(8 << 20);
    /// let log = Wal::open_with(dir.path().join("log"), options)?;
    /// assert_eq!(log.stats().max_bytes, Some(8 << 20));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::open`]; [`WalError::BadOptions`].
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let log = Self {
            shared: Arc::new(open::open(path.as_ref(), options)?),
        };
        log.shared.start_retention()?;
        Ok(log)
    }

    /// Whether the directory `path` holds a log, on the disk of `options`: a control file, or a
    /// segment with records. Nothing is changed, and no lock is taken. What a creation that was cut
    /// short has left is no log: opening makes it anew.
    ///
    /// ```
    /// use highwater_wal::{Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let (path, options) = (dir.path().join("log"), Options::new().segment_size(1 << 20));
    /// assert!(!Wal::exists(&path, &options)?);
    /// let log = Wal::open_with(&path, options.clone())?;
    /// assert!(Wal::exists(&path, &options)?, "also while it is open");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Io`]; [`WalError::Corrupt`] for a control file that cannot be read.
    pub fn exists(path: impl AsRef<Path>, options: &Options) -> Result<bool> {
        let disk = &*options.disk;
        exists(&fitness::resolve(disk, path.as_ref())?, disk)
    }

    /// Returns once the record at `lsn`, and everything before it, is on stable storage. One flush
    /// serves all who wait. This is so whatever the log's [`Durability`] says.
    ///
    /// At [`Self::end_lsn`], where no record is yet, it waits for everything below:
    /// `sync_to(log.end_lsn())` returns once all that was appended before is durable, and
    /// [`Self::durable_lsn`] is at least that.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append("a payment")?;
    /// log.sync_to(lsn)?;
    /// assert!(log.durable_lsn() > lsn); // only now tell others that it is taken
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Poisoned`] if syncing failed, now or before: the record must be taken for lost.
    /// [`WalError::BeyondEnd`] if `lsn` lies after the end: no record was appended there.
    pub fn sync_to(&self, lsn: Lsn) -> Result<()> {
        if self.shared.commit.durable() > lsn.get() {
            return Ok(());
        }
        self.shared
            .syncer
            .sync_below(self.shared.segments.target_of(lsn)?)
    }

    /// Returns once everything appended before the call is on stable storage, and how far cursors
    /// had advanced.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append("a payment")?;
    /// log.sync()?;
    /// assert!(log.durable_lsn() > lsn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Poisoned`]; where a cursor has advanced, as
    /// [`Cursor::commit`](crate::Cursor::commit).
    pub fn sync(&self) -> Result<()> {
        self.shared.log_cursors()?;
        self.shared.syncer.sync_all()
    }

    pub(crate) fn wait_for(&self, end: u64, durability: Durability) -> Result<()> {
        match durability {
            Durability::Sync => self.shared.syncer.sync_until(end),
            Durability::Interval(_) => self.shared.flusher.flush_within(durability),
            Durability::Os => Ok(()),
        }
    }

    /// Waits for the record at `lsn` as the log's [`Durability`] demands: with the default, as
    /// [`Self::sync_to`]. At [`Self::end_lsn`] it waits for everything below, as there.
    ///
    /// ```
    /// use highwater_wal::{Durability, Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(1 << 20).durability(Durability::Os);
    /// let log = Wal::open_with(dir.path(), options)?;
    /// let lsn = log.append("a page view")?;
    /// log.commit(lsn)?; // returns at once: this log's durability asks for no flush
    /// log.sync_to(lsn)?; // durable, in any log
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::sync_to`].
    pub fn commit(&self, lsn: Lsn) -> Result<()> {
        match self.shared.options.durability {
            Durability::Sync => self.sync_to(lsn),
            lower @ (Durability::Interval(_) | Durability::Os) => {
                let until = self.shared.segments.target_of(lsn)?;
                self.shared.commit.check()?;
                self.wait_for(until, lower)
            }
        }
    }

    /// Everything below this position is on stable storage.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append("a record")?;
    /// assert!(log.durable_lsn() <= lsn);
    /// log.sync_to(lsn)?;
    /// assert!(log.durable_lsn() > lsn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn durable_lsn(&self) -> Lsn {
        Lsn::new(self.shared.commit.durable())
    }

    /// Everything below this position is appended, durable or not.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let end = log.end_lsn();
    /// let lsn = log.append("a record")?;
    /// assert!(end <= lsn && lsn < log.end_lsn());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn end_lsn(&self) -> Lsn {
        Lsn::new(self.shared.segments.end())
    }

    /// The oldest position kept: the start of the oldest segment.
    ///
    /// ```
    /// use highwater_wal::Lsn;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// assert_eq!(log.first_lsn(), Lsn::ZERO, "nothing is truncated yet");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn first_lsn(&self) -> Lsn {
        Lsn::new(self.shared.retention.first())
    }

    /// A future that is ready once the record at `lsn` is durable, as [`Self::sync_to`]. If no
    /// record is there when it is first polled, it waits for everything below. Works with any
    /// executor; dropping it has no effect on the record.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let lsn = log.append("a payment")?;
    /// log.durable(lsn).await?; // one flush serves all tasks that wait
    /// assert!(log.durable_lsn() > lsn);
    /// # Ok::<_, highwater_wal::WalError>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::sync_to`]; [`WalError::Io`] if the thread that flushes cannot be started. The
    /// record is appended then, and may become durable: do not append it again, call
    /// [`Self::sync_to`], which needs no thread. [`WalError::Closed`].
    #[must_use = "futures do nothing unless awaited"]
    pub fn durable(&self, lsn: Lsn) -> Durable {
        Durable::new(&self.shared.flusher, lsn)
    }

    /// A handle that follows [`Self::durable_lsn`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let watch = log.watch_durable();
    /// let lsn = log.append("a record")?;
    /// assert!(watch.current() <= lsn);
    /// log.sync_to(lsn)?;
    /// assert!(watch.current() > lsn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn watch_durable(&self) -> DurableWatch {
        DurableWatch::new(&self.shared.commit)
    }

    /// Reads the records from `from` on that are durable now. [`Lsn::ZERO`] means from the oldest
    /// one kept; any other position must be one where a frame starts or ends.
    ///
    /// ```
    /// use highwater_wal::Lsn;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append("durable")?;
    /// log.sync_to(lsn)?;
    /// let _ = log.append("not yet durable")?;
    /// let records: Vec<_> = log.read_from(Lsn::ZERO)?.collect::<Result<_, _>>()?;
    /// assert_eq!(records.len(), 1);
    /// assert_eq!(&records[0].payload[..], b"durable");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Truncated`]; [`WalError::NotDurable`]; [`WalError::BeyondEnd`].
    pub fn read_from(&self, from: Lsn) -> Result<Reader> {
        self.read_range(from, self.durable_lsn())
    }

    /// Reads the records from `from` up to, not including, `to`, which must be where a frame starts
    /// or ends.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let (one, two) = (log.append("one")?, log.append("two")?);
    /// log.sync_to(two)?;
    /// let mut records = log.read_range(one, two)?;
    /// assert_eq!(&records.next().expect("the first record")?.payload[..], b"one");
    /// assert!(records.next().is_none());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Truncated`]; [`WalError::NotDurable`] if either is not durable yet;
    /// [`WalError::BeyondEnd`].
    pub fn read_range(&self, from: Lsn, to: Lsn) -> Result<Reader> {
        Reader::open(&self.shared, from, to)
    }

    /// Reads the records below `before`, the newest first. `before` is durable, and a frame starts
    /// or ends there.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// for n in 0..10_u64 {
    ///     let _ = log.append(n.to_le_bytes())?;
    /// }
    /// log.sync()?;
    /// let latest = log.read_backwards(log.durable_lsn())?.take(3);
    /// let latest: Vec<_> = latest.map(|record| record.map(|r| r.payload[0])).collect::<Result<_, _>>()?;
    /// assert_eq!(latest, [9, 8, 7]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Truncated`]; [`WalError::NotDurable`]; [`WalError::BeyondEnd`].
    pub fn read_backwards(&self, before: Lsn) -> Result<ReverseReader> {
        ReverseReader::open(&self.shared, before)
    }

    /// The newest record that is durable; `None` if there is none.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// assert!(log.last()?.is_none());
    /// let lsn = log.append_sync("the newest")?;
    /// assert_eq!(log.last()?.expect("a record").lsn, lsn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Corrupt`] and [`WalError::Io`], from reading.
    pub fn last(&self) -> Result<Option<Record>> {
        self.read_backwards(self.durable_lsn())?.next().transpose()
    }

    /// Reads from `from` on and then waits for new durable records, until the log is closed. It
    /// keeps the log from its position on. Another thread must make records durable. `from` may be
    /// any position up to [`Self::end_lsn`] where a frame starts or ends, durable or not.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let mut tail = log.tail(log.end_lsn())?;
    /// let lsn = log.append("news")?;
    /// log.sync_to(lsn)?;
    /// assert_eq!(tail.next().expect("a record")?.lsn, lsn);
    /// log.close()?;
    /// assert!(tail.next().is_none(), "the log is closed and read to its end");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Truncated`]; [`WalError::BeyondEnd`].
    pub fn tail(&self, from: Lsn) -> Result<Tail> {
        Tail::open(&self.shared, from)
    }

    /// Hops over the frames from `from` to `to` reading headers only: to split a range into chunks.
    ///
    /// ```
    /// use highwater_wal::FrameKind;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append("a record")?;
    /// log.sync_to(lsn)?;
    /// let first = log.scan_headers(lsn, log.durable_lsn())?.next().expect("a frame")?;
    /// assert_eq!((first.lsn, first.kind, first.payload_len), (lsn, FrameKind::Data, 8));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::read_range`].
    pub fn scan_headers(&self, from: Lsn, to: Lsn) -> Result<FrameHeaders> {
        FrameHeaders::open(&self.shared, from, to)
    }

    /// The frames from `from` to `to`, which lie in one segment.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let batch = log.append_batch(&["one", "two"])?;
    /// log.sync_to(batch.first)?;
    /// let chunk = log.chunk(batch.first, batch.end)?;
    /// for frame in chunk.frames() {
    ///     assert_eq!(frame?.records().count(), 2);
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::read_range`]; [`WalError::BadOptions`] if the range crosses the end of a segment.
    pub fn chunk(&self, from: Lsn, to: Lsn) -> Result<Chunk> {
        Chunk::open(&self.shared, from, to)
    }

    /// Splits the range into chunks of whole frames of about `target_bytes` each, none across
    /// segments.
    ///
    /// ```
    /// use highwater_wal::Lsn;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// for n in 0..1000 {
    ///     let _ = log.append(format!("record {n}"))?;
    /// }
    /// log.sync()?;
    /// let chunks = log.chunks(Lsn::ZERO, log.durable_lsn(), 4096)?;
    /// let counted = std::thread::scope(|threads| {
    ///     let count = |chunk: &highwater_wal::Chunk| chunk.frames().filter(Result::is_ok).count();
    ///     let counts: Vec<_> = chunks.iter().map(|chunk| threads.spawn(move || count(chunk))).collect();
    ///     counts.into_iter().map(|count| count.join().expect("no panic")).sum::<usize>()
    /// });
    /// assert_eq!(counted, 1000);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::read_range`].
    pub fn chunks(&self, from: Lsn, to: Lsn, target_bytes: u64) -> Result<Vec<Chunk>> {
        Chunk::split(&self.shared, from, to, target_bytes)
    }

    /// Gives up the log below `lsn`: frees the segments that lie wholly below it, and below every
    /// reader and [`RetentionGuard`]. The new start is durable before a file is removed.
    ///
    /// ```
    /// use highwater_wal::Lsn;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let mut last = log.append([0; 9000])?;
    /// for _ in 0..20 {
    ///     last = log.append([0; 9000])?;
    /// }
    /// log.sync()?;
    /// log.truncate_before(last)?; // everything before it is processed
    /// assert!(Lsn::ZERO < log.first_lsn() && log.first_lsn() <= last, "whole segments are gone");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Io`]: nothing was truncated, try again; [`WalError::Poisoned`];
    /// [`WalError::Closed`].
    pub fn truncate_before(&self, lsn: Lsn) -> Result<()> {
        self.shared.truncate_before(lsn)
    }

    /// Takes back the records whose frames start from `from` on and before `to`: for example the
    /// entries of a consensus log that a new leader replaces. Returns where the frame that says so
    /// starts. Once that is durable, readers that are opened pass over those records, in this
    /// process and after every restart, and so do tails from their next wait on. Before, nothing is
    /// changed: after a crash either all of them are void, or none is.
    ///
    /// The positions are not used again: what is appended next comes after the end. To take back
    /// everything from a record on, `to` is [`Self::end_lsn`]. The frame may use the reserve of a
    /// log at its bound ([`Options::max_bytes`]). A void range is forgotten when the log is
    /// truncated beyond it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let (kept, wrong) = (log.append("entry 1")?, log.append("entry 2, of the old leader")?);
    /// let _ = log.void(wrong, log.end_lsn())?;
    /// let last = log.append("entry 2, of the new one")?;
    /// log.sync_to(last)?; // one sync for both
    /// let entries: Vec<_> = log.read_from(kept)?.map(|r| r.unwrap().payload.to_vec()).collect();
    /// assert_eq!(entries, [&b"entry 1"[..], b"entry 2, of the new one"]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::BeyondEnd`] if `to` lies after the end; [`WalError::BadOptions`] if the range is
    /// empty; [`WalError::TooMany`] if 4096 ranges are void that do not touch; as
    /// [`Self::append_control`].
    pub fn void(&self, from: Lsn, to: Lsn) -> Result<Lsn> {
        self.shared.void(from, to)
    }

    /// Keeps the log from `lsn` on while the guard lives.
    ///
    /// ```
    /// use highwater_wal::Lsn;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let guard = log.retain(log.first_lsn())?;
    /// let mut last = log.append([0; 9000])?;
    /// for _ in 0..20 {
    ///     last = log.append([0; 9000])?;
    /// }
    /// log.sync()?;
    /// log.truncate_before(last)?;
    /// assert_eq!(log.first_lsn(), Lsn::ZERO, "the guard keeps it");
    /// drop(guard);
    /// log.truncate_before(last)?;
    /// assert!(log.first_lsn() > Lsn::ZERO);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Truncated`].
    pub fn retain(&self, lsn: Lsn) -> Result<RetentionGuard> {
        self.retain_as(lsn, "a retention guard")
    }

    /// As [`Self::retain`], with a name that [`Self::holds`] and [`WalError::LogFull`] show.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let backup = log.retain_as(log.first_lsn(), "the nightly backup")?;
    /// assert_eq!(log.holds()[0].name, "the nightly backup");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Truncated`].
    pub fn retain_as(&self, lsn: Lsn, name: impl AsRef<str>) -> Result<RetentionGuard> {
        RetentionGuard::new(&self.shared.retention, lsn, &Arc::from(name.as_ref()))
    }

    /// Guards and open readers that keep the log from being truncated, the oldest first.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let reader = log.read_from(log.first_lsn())?;
    /// for hold in log.holds() {
    ///     println!("{} keeps {} bytes from {} on", hold.name, hold.bytes, hold.lsn);
    /// }
    /// assert_eq!(log.holds().len(), 1);
    /// drop(reader);
    /// assert!(log.holds().is_empty());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn holds(&self) -> Vec<LogHold> {
        self.shared.retention.holds(self.shared.segments.end())
    }

    /// The segments that hold the log, the oldest first. The last one is appended to.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// # let _ = log.append("a record")?;
    /// let held: u64 = log.segments().iter().map(|segment| segment.end.bytes_since(segment.base)).sum();
    /// assert!(held >= log.end_lsn().bytes_since(log.first_lsn()));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentRange> {
        self.shared.segments.ranges()
    }

    /// Waits until a log at its bound ([`Options::max_bytes`]) has room again for an ordinary
    /// record of any size that it accepts. Another thread has to truncate it. Returns at once if
    /// there is room, or no bound. Other appenders may take the room first: append in a loop.
    ///
    /// ```
    /// use highwater_wal::{Options, Wal, WalError};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(64 << 10).max_bytes(256 << 10);
    /// let log = Wal::open_with(dir.path(), options)?;
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
    /// A full disk is something else: that is [`WalError::Io`], and this does not wait for it.
    ///
    /// # Errors
    /// [`WalError::Closed`] or [`WalError::Poisoned`], also if that happens meanwhile.
    pub fn wait_for_room(&self) -> Result<()> {
        match self.shared.wait_for_room(None)? {
            RoomWait::Room => Ok(()),
            RoomWait::TimedOut => unreachable!("there is no deadline"),
        }
    }

    /// As [`Self::wait_for_room`], for `timeout` by the log's clock at most.
    ///
    /// ```
    /// use highwater_wal::{Options, RoomWait, Wal};
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(64 << 10).max_bytes(256 << 10);
    /// let log = Wal::open_with(dir.path(), options)?;
    /// while log.append([0; 9000]).is_ok() {} // up to the bound
    /// assert_eq!(log.wait_for_room_timeout(Duration::ZERO)?, RoomWait::TimedOut);
    /// log.sync()?;
    /// log.truncate_before(log.end_lsn())?;
    /// assert_eq!(log.wait_for_room_timeout(Duration::ZERO)?, RoomWait::Room);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::wait_for_room`].
    pub fn wait_for_room_timeout(&self, timeout: Duration) -> Result<RoomWait> {
        self.shared.wait_for_room(Some(timeout))
    }

    /// A future that is ready once [`Self::wait_for_room`] would return. Works with any executor;
    /// dropping it has no effect.
    ///
    /// ```
    /// use highwater_wal::{Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(64 << 10).max_bytes(256 << 10);
    /// let log = Wal::open_with(dir.path(), options)?;
    /// while log.append([0; 9000]).is_ok() {} // up to the bound
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// log.sync()?;
    /// log.truncate_before(log.end_lsn())?; // by another task
    /// log.room().await?;
    /// let _ = log.append([0; 9000])?;
    /// # Ok::<_, highwater_wal::WalError>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::wait_for_room`].
    #[must_use = "futures do nothing unless awaited"]
    pub fn room(&self) -> RoomFuture {
        RoomFuture::new(&self.shared)
    }

    /// Makes everything durable, marks the log as cleanly closed, and gives up the lock. Closing
    /// twice is no error. Readers, and the payloads read, stay usable. Dropping the log closes it
    /// too, but reports no errors.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append("a record")?;
    /// log.close()?;
    /// assert!(log.durable_lsn() > lsn);
    /// assert!(log.append("too late").is_err());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::Poisoned`]; [`WalError::Io`] if there was no room for the close frame:
    /// everything is durable all the same, and the log is closed.
    pub fn close(&self) -> Result<()> {
        self.shared.close()
    }

    /// What was found when the log was opened.
    ///
    /// ```
    /// use highwater_wal::{Case, Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// log.close()?;
    /// drop(log);
    /// let log = Wal::open_with(dir.path(), Options::new().segment_size(64 << 10))?;
    /// assert_eq!(log.recovery().case, Case::CleanEnd);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.shared.recovery
    }

    /// What the log has done so far. The same goes out as metrics (`highwater_wal_*`) through the
    /// `metrics` facade, if the program installed a recorder before it opened the log: latencies at
    /// each group, the rest at each rotation and call.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let lsn = log.append("a record")?;
    /// log.sync_to(lsn)?;
    /// let stats = log.stats();
    /// assert_eq!((stats.records, stats.groups), (1, 1));
    /// println!("half of the syncs took at most {:?}", stats.sync.p50);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        let stats = self.shared.stats();
        self.shared.meters.publish(&stats);
        stats
    }

    /// The identity of the log: 128 random bits that stand in every checksum.
    ///
    /// ```
    /// use highwater_wal::{disk::OsDisk, inspect};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let same = inspect::Log::open(Arc::new(OsDisk::new()), log.dir())?;
    /// assert_eq!(same.log_id(), log.log_id());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn log_id(&self) -> u128 {
        self.shared.key.id
    }

    /// The largest record that the log accepts, in bytes.
    ///
    /// ```
    /// use highwater_wal::WalError;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let too_large = vec![0; log.max_record_bytes() + 1];
    /// assert!(matches!(log.append(too_large), Err(WalError::RecordTooLarge { .. })));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn max_record_bytes(&self) -> usize {
        self.shared.max_record
    }

    /// The directory of the log, from the root on.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// assert!(log.dir().is_absolute());
    /// assert!(log.dir().join("LOG").exists());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(dir = %self.shared.dir.display(), %error, "closing the log");
        }
    }
}
