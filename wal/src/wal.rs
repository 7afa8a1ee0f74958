//! `Wal`, the handle of an open log: the public interface.

use crate::commit::future::{Durable, DurableWatch};
use crate::error::Result;
#[cfg(doc)]
use crate::error::WalError;
use crate::facade::tracing;
use crate::format::batch::encode_batch;
use crate::format::frame::{FrameKind, Tag};
use crate::log::open;
use crate::log::room::RoomFuture;
use crate::log::shared::Shared;
use crate::lsn::{Lsn, LsnRange, StreamId};
use crate::metrics::stats::Stats;
use crate::options::append::{AppendOptions, Level};
use crate::options::choices::Durability;
use crate::options::settings::Options;
use crate::read::chunk::Chunk;
use crate::read::headers::FrameHeaders;
use crate::read::reader::Reader;
use crate::read::tail::Tail;
use crate::recovery::cases::Recovery;
use crate::recovery::fitness;
use crate::recovery::open::exists;
use crate::retention::budget::AdmissionClass;
use crate::retention::guard::{LogHold, RetentionGuard};
use crate::retention::room::RoomWait;
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
    shared: Arc<Shared>,
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
    /// # Errors
    /// As [`Self::open`]; [`WalError::BadOptions`].
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Ok(Self {
            shared: Arc::new(open::open(path.as_ref(), options)?),
        })
    }

    /// Whether the directory `path` holds a log, on the disk of `options`: a control file, or a
    /// segment with records. Nothing is changed, and no lock is taken. What a creation that was cut
    /// short has left is no log: opening makes it anew.
    ///
    /// # Errors
    /// [`WalError::Io`]; [`WalError::Corrupt`] for a control file that cannot be read.
    pub fn exists(path: impl AsRef<Path>, options: &Options) -> Result<bool> {
        let disk = &*options.disk;
        exists(&fitness::resolve(disk, path.as_ref())?, disk)
    }

    /// Appends one record and returns its position. The order is fixed, but the record is not yet
    /// durable. Wait for that before you store the LSN elsewhere: see [`Lsn`].
    ///
    /// # Errors
    /// [`WalError::RecordTooLarge`]; [`WalError::Poisoned`]; [`WalError::Closed`]; [`WalError::Io`]
    /// if the next segment cannot be made, for example on a full disk: nothing was appended, try
    /// again later.
    pub fn append(&self, payload: impl AsRef<[u8]>) -> Result<Lsn> {
        self.append_one(FrameKind::Data, StreamId::DEFAULT, payload.as_ref())
    }

    /// Appends one record and waits as its durability, or the log's, demands.
    ///
    /// # Errors
    /// As [`Self::append`] and [`Self::sync_to`].
    pub fn append_with(&self, options: &AppendOptions, payload: impl AsRef<[u8]>) -> Result<Lsn> {
        let class = options.admission.into();
        let (start, end) = self.append_frame(
            class,
            FrameKind::Data.into(),
            options.stream,
            payload.as_ref(),
            1,
        )?;
        match options.level {
            Level::OfLog => self.wait_for(end, self.shared.options.durability)?,
            Level::Own(durability) => self.wait_for(end, durability)?,
        }
        Ok(Lsn::new(start))
    }

    /// Appends several records as one: after a crash all of them are there, or none.
    ///
    /// # Errors
    /// As [`Self::append`]; the limit counts the whole batch, with 4 bytes more per record and 4
    /// for the batch, before it is compressed.
    pub fn append_batch(&self, records: &[impl AsRef<[u8]>]) -> Result<LsnRange> {
        self.append_batch_with(StreamId::DEFAULT, records)
    }

    /// [`Self::append_batch`] to a stream.
    ///
    /// # Errors
    /// As [`Self::append_batch`].
    pub fn append_batch_with(
        &self,
        stream: StreamId,
        records: &[impl AsRef<[u8]>],
    ) -> Result<LsnRange> {
        let payload = encode_batch(records, self.shared.max_record)
            .map_err(|size| self.shared.options.too_large(size))?;
        let packed = self.shared.compressor.compress(&payload);
        let (tag, stored) = match &packed {
            Some((tag, packed)) => (*tag, packed),
            None => (FrameKind::Batch.into(), &payload),
        };
        let count = records.len() as u64;
        let (first, end) =
            self.append_frame(AdmissionClass::Ordinary, tag, stream, stored, count)?;
        Ok(LsnRange {
            first: Lsn::new(first),
            end: Lsn::new(end),
        })
    }

    /// Appends a record that readers see as [`RecordKind::Control`](crate::RecordKind::Control):
    /// bookkeeping of the program above, opaque to the log. It may use the reserve of a log at its
    /// bound ([`Options::max_bytes`]).
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_control(&self, stream: StreamId, payload: impl AsRef<[u8]>) -> Result<Lsn> {
        self.append_one(FrameKind::Control, stream, payload.as_ref())
    }

    fn append_one(&self, kind: FrameKind, stream: StreamId, payload: &[u8]) -> Result<Lsn> {
        let class = match kind {
            FrameKind::Control => AdmissionClass::Reserve,
            _ => AdmissionClass::Ordinary,
        };
        let (start, _) = self.append_frame(class, kind.into(), stream, payload, 1)?;
        Ok(Lsn::new(start))
    }

    fn append_frame(
        &self,
        class: AdmissionClass,
        tag: Tag,
        stream: StreamId,
        payload: &[u8],
        records: u64,
    ) -> Result<(u64, u64)> {
        let (start, end) = self.shared.append(class, tag, stream, payload)?;
        self.shared.counters.appended(records);
        // The record is in the log: a caller that gets an error would append it again.
        if let Err(error) = self
            .shared
            .flusher
            .flush_within(self.shared.options.durability)
        {
            tracing::warn!(dir = %self.shared.dir.display(), %error, "the periodic flush could not be started");
        }
        Ok((start, end))
    }

    fn wait_for(&self, end: u64, durability: Durability) -> Result<()> {
        match durability {
            Durability::Sync => self.shared.syncer.sync_until(end),
            Durability::Interval(_) => self.shared.flusher.flush_within(durability),
            Durability::Os => Ok(()),
        }
    }

    /// Returns once the record at `lsn`, and everything before it, is on stable storage. One flush
    /// serves all who wait. This is so whatever the log's [`Durability`] says.
    ///
    /// At [`Self::end_lsn`], where no record is yet, it waits for everything below:
    /// `sync_to(log.end_lsn())` returns once all that was appended before is durable, and
    /// [`Self::durable_lsn`] is at least that.
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

    /// Returns once everything appended before the call is on stable storage.
    ///
    /// # Errors
    /// [`WalError::Poisoned`].
    pub fn sync(&self) -> Result<()> {
        self.shared.syncer.sync_all()
    }

    /// Waits for the record at `lsn` as the log's [`Durability`] demands: with the default, as
    /// [`Self::sync_to`]. At [`Self::end_lsn`] it waits for everything below, as there.
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
    pub fn durable_lsn(&self) -> Lsn {
        Lsn::new(self.shared.commit.durable())
    }

    /// Everything below this position is appended, durable or not.
    pub fn end_lsn(&self) -> Lsn {
        Lsn::new(self.shared.segments.end())
    }

    /// The oldest position kept: the start of the oldest segment.
    pub fn first_lsn(&self) -> Lsn {
        Lsn::new(self.shared.retention.first())
    }

    /// A future that is ready once the record at `lsn` is durable, as [`Self::sync_to`]. If no
    /// record is there when it is first polled, it waits for everything below. Works with any
    /// executor; dropping it has no effect on the record.
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
    #[must_use]
    pub fn watch_durable(&self) -> DurableWatch {
        DurableWatch::new(&self.shared.commit)
    }

    /// Reads the records from `from` on that are durable now. [`Lsn::ZERO`] means from the oldest
    /// one kept; any other position must be one where a frame starts or ends.
    ///
    /// # Errors
    /// [`WalError::Truncated`]; [`WalError::NotDurable`]; [`WalError::BeyondEnd`].
    pub fn read_from(&self, from: Lsn) -> Result<Reader> {
        self.read_range(from, self.durable_lsn())
    }

    /// Reads the records from `from` up to, not including, `to`, which must be where a frame starts
    /// or ends.
    ///
    /// # Errors
    /// [`WalError::Truncated`]; [`WalError::NotDurable`] if either is not durable yet;
    /// [`WalError::BeyondEnd`].
    pub fn read_range(&self, from: Lsn, to: Lsn) -> Result<Reader> {
        Reader::open(&self.shared, from, to)
    }

    /// Reads from `from` on and then waits for new durable records, until the log is closed. It
    /// keeps the log from its position on. Another thread must make records durable. `from` may be
    /// any position up to [`Self::end_lsn`] where a frame starts or ends, durable or not.
    ///
    /// # Errors
    /// [`WalError::Truncated`]; [`WalError::BeyondEnd`].
    pub fn tail(&self, from: Lsn) -> Result<Tail> {
        Tail::open(&self.shared, from)
    }

    /// Hops over the frames from `from` to `to` reading headers only: to split a range into chunks.
    ///
    /// # Errors
    /// As [`Self::read_range`].
    pub fn scan_headers(&self, from: Lsn, to: Lsn) -> Result<FrameHeaders> {
        FrameHeaders::open(&self.shared, from, to)
    }

    /// The frames from `from` to `to`, which lie in one segment.
    ///
    /// # Errors
    /// As [`Self::read_range`]; [`WalError::BadOptions`] if the range crosses the end of a segment.
    pub fn chunk(&self, from: Lsn, to: Lsn) -> Result<Chunk> {
        Chunk::open(&self.shared, from, to)
    }

    /// Splits the range into chunks of whole frames of about `target_bytes` each, none across
    /// segments.
    ///
    /// # Errors
    /// As [`Self::read_range`].
    pub fn chunks(&self, from: Lsn, to: Lsn, target_bytes: u64) -> Result<Vec<Chunk>> {
        Chunk::split(&self.shared, from, to, target_bytes)
    }

    /// Gives up the log below `lsn`: frees the segments that lie wholly below it, and below every
    /// reader and [`RetentionGuard`]. The new start is durable before a file is removed.
    ///
    /// # Errors
    /// [`WalError::Io`]: nothing was truncated, try again; [`WalError::Poisoned`];
    /// [`WalError::Closed`].
    pub fn truncate_before(&self, lsn: Lsn) -> Result<()> {
        self.shared.truncate_before(lsn)
    }

    /// Keeps the log from `lsn` on while the guard lives.
    ///
    /// # Errors
    /// [`WalError::Truncated`].
    pub fn retain(&self, lsn: Lsn) -> Result<RetentionGuard> {
        self.retain_as(lsn, "a retention guard")
    }

    /// As [`Self::retain`], with a name that [`Self::holds`] and [`WalError::LogFull`] show.
    ///
    /// # Errors
    /// [`WalError::Truncated`].
    pub fn retain_as(&self, lsn: Lsn, name: impl AsRef<str>) -> Result<RetentionGuard> {
        RetentionGuard::new(&self.shared.retention, lsn, &Arc::from(name.as_ref()))
    }

    /// Guards and open readers that keep the log from being truncated, the oldest first.
    #[must_use]
    pub fn holds(&self) -> Vec<LogHold> {
        self.shared.retention.holds(self.shared.segments.end())
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
    /// # Errors
    /// As [`Self::wait_for_room`].
    pub fn wait_for_room_timeout(&self, timeout: Duration) -> Result<RoomWait> {
        self.shared.wait_for_room(Some(timeout))
    }

    /// A future that is ready once [`Self::wait_for_room`] would return. Works with any executor;
    /// dropping it has no effect.
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
    /// # Errors
    /// [`WalError::Poisoned`]; [`WalError::Io`] if there was no room for the close frame:
    /// everything is durable all the same, and the log is closed.
    pub fn close(&self) -> Result<()> {
        self.shared.close()
    }

    /// What was found when the log was opened.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.shared.recovery
    }

    /// What the log has done so far. The same goes out as metrics (`highwater_wal_*`) through the
    /// `metrics` facade, if the program installed a recorder before it opened the log: latencies at
    /// each group, the rest at each rotation and call.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let stats = self.shared.stats();
        self.shared.meters.publish(&stats);
        stats
    }

    /// The identity of the log: 128 random bits that stand in every checksum.
    #[must_use]
    pub fn log_id(&self) -> u128 {
        self.shared.key.id
    }

    /// The largest record that the log accepts, in bytes.
    #[must_use]
    pub fn max_record_bytes(&self) -> usize {
        self.shared.max_record
    }

    /// The directory of the log, from the root on.
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
