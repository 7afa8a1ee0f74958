//! The methods of [`Wal`] that append.
//!
//! None of them takes a lock or waits while the segment in use has room.

use crate::append::future::Appending;
use crate::error::Result;
#[cfg(doc)]
use crate::error::WalError;
use crate::format::batch::encode_batch;
use crate::format::frame::{FrameKind, Tag};
use crate::log::shared::Refused;
use crate::lsn::{Lsn, LsnRange, StreamId};
use crate::options::append::{AppendOptions, Level};
use crate::retention::budget::AdmissionClass;
use crate::segment::frame_writer::{NewFrame, Pieces};
use crate::wal::Wal;
use std::io::IoSlice;

/// # Appending
///
/// The calls that do not say otherwise order a record and return its LSN; it is not durable yet.
///
/// They wait only where the log goes on to its next segment:
/// * for the segment, if it is not made yet. It is made from the middle of the last one on, so that
///   is the case where appends outrun the disk, or the disk is full for a moment.
/// * for the disk, if too much is not durable: with direct writes everything before the segment
///   that is full, through the page cache everything before the last 64 segments. Then they sync.
/// * for another thread that does this.
///
/// [`Self::try_append`] never waits, [`Self::append_async`] awaits. In a log with
/// [`Background::Inline`](crate::Background::Inline) every append does that work itself.
impl Wal {
    /// Appends one record and returns its position. The order is fixed, but the record is not yet
    /// durable. Wait for that before you store the LSN elsewhere: see [`Lsn`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let lsn = log.append("hello")?;
    /// log.sync_to(lsn)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`WalError::RecordTooLarge`]; [`WalError::LogFull`]; [`WalError::Poisoned`];
    /// [`WalError::Closed`]; [`WalError::Io`] if the next segment cannot be made, for example on a
    /// full disk: nothing was appended, try again later.
    pub fn append(&self, payload: impl AsRef<[u8]>) -> Result<Lsn> {
        self.append_to(StreamId::DEFAULT, payload)
    }

    /// [`Self::append`] to a stream.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// use highwater_wal::StreamId;
    /// log.sync_to(log.append_to(StreamId(7), "for the seventh")?)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_to(&self, stream: StreamId, payload: impl AsRef<[u8]>) -> Result<Lsn> {
        let (start, _) = self.append_record(
            AdmissionClass::Ordinary,
            FrameKind::Data.into(),
            stream,
            Pieces::One(payload.as_ref()),
        )?;
        Ok(Lsn::new(start))
    }

    /// Appends one record, and returns when it is durable, and everything before it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let lsn = log.append_sync("on disk when this returns")?;
    /// assert!(log.durable_lsn() > lsn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::append`] and [`Self::sync_to`].
    pub fn append_sync(&self, payload: impl AsRef<[u8]>) -> Result<Lsn> {
        let (start, end) = self.append_record(
            AdmissionClass::Ordinary,
            FrameKind::Data.into(),
            StreamId::DEFAULT,
            Pieces::One(payload.as_ref()),
        )?;
        self.shared.syncer.sync_until(end)?;
        Ok(Lsn::new(start))
    }

    /// Appends one record if that is possible without waiting. If it is not, what it would wait for
    /// is begun: so try again, or use [`Self::append_async`], which is woken.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// use highwater_wal::WalError;
    /// match log.try_append("now or never") {
    ///     Ok(lsn) => log.sync_to(lsn)?,
    ///     Err(WalError::WouldWait { what }) => println!("not now: {what}"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::append`]; [`WalError::WouldWait`].
    pub fn try_append(&self, payload: impl AsRef<[u8]>) -> Result<Lsn> {
        let appended = self.shared.append_at_once(payload.as_ref());
        if let Err(Refused::Unsynced(_)) = appended {
            self.shared.flusher.flush_soon()?;
        }
        appended.map_err(Refused::into_error)
    }

    /// A future that appends one record and returns its LSN. Its polls never wait: the file system
    /// is the work of other threads. Works with any executor. Nothing is appended before the first
    /// poll, or after it is dropped. Several of them append in the order in which they become
    /// ready.
    ///
    /// ```
    /// # fn block_on<T>(future: impl Future<Output = T>) -> T {
    /// #     tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    /// # }
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// # block_on(async {
    /// let lsn = log.append_async("hello").await?;
    /// log.durable(lsn).await?;
    /// # highwater_wal::Result::Ok(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_async<P: AsRef<[u8]>>(&self, payload: P) -> Appending<P> {
        Appending::new(&self.shared, payload)
    }

    /// Appends one record and waits as its durability, or the log's, demands.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// use highwater_wal::{AppendOptions, Durability, StreamId};
    /// let options = AppendOptions::new().stream(StreamId(2)).durability(Durability::Sync);
    /// let _durable = log.append_with(&options, "a record")?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::append`] and [`Self::sync_to`].
    pub fn append_with(&self, options: &AppendOptions, payload: impl AsRef<[u8]>) -> Result<Lsn> {
        let (start, end) = self.append_record(
            options.admission.into(),
            FrameKind::Data.into(),
            options.stream,
            Pieces::One(payload.as_ref()),
        )?;
        self.wait_as(options, end)?;
        Ok(Lsn::new(start))
    }

    /// Appends one record that lies in several pieces, without putting them together first.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// use std::io::IoSlice;
    /// let lsn = log.append_vectored(&[IoSlice::new(b"key"), IoSlice::new(b"value")])?;
    /// log.sync_to(lsn)?;
    /// # assert_eq!(&log.read_from(lsn)?.next().unwrap()?.payload[..], b"keyvalue");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_vectored(&self, pieces: &[IoSlice<'_>]) -> Result<Lsn> {
        let (start, _) = self.append_record(
            AdmissionClass::Ordinary,
            FrameKind::Data.into(),
            StreamId::DEFAULT,
            Pieces::Many(pieces),
        )?;
        Ok(Lsn::new(start))
    }

    /// Appends one record of `len` bytes that `write` puts where they will stay: what it is given
    /// is the log's memory, all zeros. So a record can be encoded without a buffer of its own.
    ///
    /// Commits of other threads wait until `write` returns, so it should only encode. It must not
    /// use this log. If it panics, nothing is appended, and the panic goes on.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let lsn = log.append_fill(8, |bytes| bytes.copy_from_slice(&42_u64.to_le_bytes()))?;
    /// log.sync_to(lsn)?;
    /// # assert_eq!(&log.read_from(lsn)?.next().unwrap()?.payload[..], &42_u64.to_le_bytes());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::append`]; `write` is not called then.
    pub fn append_fill(&self, len: usize, write: impl FnOnce(&mut [u8])) -> Result<Lsn> {
        self.shared.check_size(len)?;
        let start = self.shared.append_in_place(len, write)?;
        self.shared.appended(1);
        Ok(Lsn::new(start))
    }

    /// Appends several records as one: after a crash all of them are there, or none. They may come
    /// from a slice or from any iterator.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// let batch = log.append_batch(["all", "or", "none"])?;
    /// log.sync_to(batch.first)?;
    /// let _numbers = log.append_batch((0..3_u32).map(u32::to_le_bytes))?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::append`]; the limit counts the whole batch, with 4 bytes more per record and 4
    /// for the batch, before it is compressed.
    pub fn append_batch<T: AsRef<[u8]>>(
        &self,
        records: impl IntoIterator<Item = T>,
    ) -> Result<LsnRange> {
        self.append_batch_to(StreamId::DEFAULT, records)
    }

    /// [`Self::append_batch`] to a stream.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// use highwater_wal::StreamId;
    /// log.sync_to(log.append_batch_to(StreamId(7), ["a", "b"])?.first)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::append_batch`].
    pub fn append_batch_to<T: AsRef<[u8]>>(
        &self,
        stream: StreamId,
        records: impl IntoIterator<Item = T>,
    ) -> Result<LsnRange> {
        self.append_batch_as(AdmissionClass::Ordinary, stream, records)
    }

    /// Appends several records as one, and waits as their durability, or the log's, demands: what
    /// [`Self::append_with`] is for one record.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// use highwater_wal::{AppendOptions, Durability};
    /// let options = AppendOptions::new().durability(Durability::Sync);
    /// let batch = log.append_batch_with(&options, ["on", "disk"])?;
    /// assert!(log.durable_lsn() >= batch.end);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::append_batch`] and [`Self::sync_to`].
    pub fn append_batch_with<T: AsRef<[u8]>>(
        &self,
        options: &AppendOptions,
        records: impl IntoIterator<Item = T>,
    ) -> Result<LsnRange> {
        let class = options.admission.into();
        let range = self.append_batch_as(class, options.stream, records)?;
        self.wait_as(options, range.end.get())?;
        Ok(range)
    }

    /// Appends a record that readers see as [`RecordKind::Control`](crate::RecordKind::Control):
    /// bookkeeping of the program above, opaque to the log. It may use the reserve of a log at its
    /// bound ([`Options::max_bytes`](crate::Options::max_bytes)).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let log = highwater_wal::Wal::open(dir.path())?;
    /// use highwater_wal::StreamId;
    /// log.sync_to(log.append_control(StreamId(1), "consumed up to 17")?)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_control(&self, stream: StreamId, payload: impl AsRef<[u8]>) -> Result<Lsn> {
        let (start, _) = self.append_record(
            AdmissionClass::Reserve,
            FrameKind::Control.into(),
            stream,
            Pieces::One(payload.as_ref()),
        )?;
        Ok(Lsn::new(start))
    }

    fn append_record(
        &self,
        class: AdmissionClass,
        tag: Tag,
        stream: StreamId,
        payload: Pieces<'_>,
    ) -> Result<(u64, u64)> {
        self.shared.check_size(payload.len())?;
        let range = self
            .shared
            .append(class, &NewFrame::of_pieces(tag, stream, payload))?;
        self.shared.appended(1);
        Ok(range)
    }

    fn append_batch_as<T: AsRef<[u8]>>(
        &self,
        class: AdmissionClass,
        stream: StreamId,
        records: impl IntoIterator<Item = T>,
    ) -> Result<LsnRange> {
        let (payload, count) = encode_batch(records, self.shared.max_record)
            .map_err(|size| self.shared.options.too_large(size))?;
        let packed = self.shared.compressor.compress(&payload);
        let (tag, stored) = match &packed {
            Some((tag, packed)) => (*tag, packed),
            None => (FrameKind::Batch.into(), &payload),
        };
        let frame = NewFrame::new(tag, stream, stored);
        let (first, end) = self.shared.append(class, &frame)?;
        self.shared.appended(count as u64);
        Ok(LsnRange {
            first: Lsn::new(first),
            end: Lsn::new(end),
        })
    }

    /// Waits for what ends at `end` as `options` say.
    fn wait_as(&self, options: &AppendOptions, end: u64) -> Result<()> {
        match options.level {
            Level::OfLog => self.wait_for(end, self.shared.options.durability),
            Level::Own(durability) => self.wait_for(end, durability),
        }
    }
}
