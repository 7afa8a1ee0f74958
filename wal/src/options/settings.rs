//! The settings of a log.

use crate::error::WalError;
use crate::faults::Faults;
use crate::format::layout::{
    FRAME_HEADER_SIZE, MIN_SEGMENT_SIZE, SEGMENT_ALIGNMENT, SEGMENT_HEADER_SIZE, max_payload,
    to_usize,
};
use crate::lsn::Lsn;
use crate::options::choices::{
    Background, Compression, Durability, ReadPath, Tuning, UnsafeFileSystem, WritePath,
};
use highwater_disk::{Clock, Disk, OsClock, OsDisk, PAGE_SIZE, Priority};
use std::sync::Arc;
use std::time::Duration;

const DEFAULT_SEGMENT_SIZE: u64 = 64 << 20;
const DEFAULT_MIN_SEGMENT_SIZE: u64 = 1 << 20;
/// Bytes of log after which the durable LSN is written to the control file: opening after a crash
/// reads this much at most.
const PROGRESS_INTERVAL: u64 = 4 << 20;
const DEFAULT_MAX_RECORD: usize = 16 << 20;

/// The longest single direct write of a commit group.
pub(crate) const MAX_WRITE_SIZE: u64 = 2 << 20;
const _: () = assert!(MAX_WRITE_SIZE.is_multiple_of(PAGE_SIZE));

/// Settings of a log; the default is right for most.
///
/// ```
/// use highwater_wal::{Durability, Options};
/// let options = Options::new().segment_size(1 << 20).durability(Durability::Os);
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) segment_size: u64,
    min_segment_size: Option<u64>,
    max_record: Option<usize>,
    pub(crate) group_commit_wait: Duration,
    pub(crate) durability: Durability,
    pub(crate) background: Background,
    write_path: WritePath,
    pub(crate) read_path: ReadPath,
    pub(crate) compression: Compression,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) seal_groups: u64,
    pub(crate) timestamps: bool,
    pub(crate) retain_for: Option<Duration>,
    pub(crate) retain_bytes: Option<u64>,
    pub(crate) committer_priority: Priority,
    pub(crate) progress_interval: u64,
    pub(crate) longest_write: u64,
    pub(crate) unsafe_file_system: UnsafeFileSystem,
    pub(crate) seed: Option<u64>,
    /// Where a new log begins.
    pub(crate) start_at: u64,
    pub(crate) without: Option<Tuning>,
    pub(crate) faults: Faults,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// The defaults.
    ///
    /// ```
    /// use highwater_wal::Options;
    /// assert_eq!(Options::new().max_record(), 16 << 20);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            segment_size: DEFAULT_SEGMENT_SIZE,
            min_segment_size: None,
            max_record: None,
            group_commit_wait: Duration::from_micros(40),
            durability: Durability::Sync,
            background: Background::Thread,
            write_path: WritePath::Auto,
            read_path: ReadPath::Mapped,
            compression: Compression::Off,
            max_bytes: None,
            seal_groups: 0,
            timestamps: true,
            retain_for: None,
            retain_bytes: None,
            committer_priority: Priority::Ordinary,
            progress_interval: PROGRESS_INTERVAL,
            longest_write: MAX_WRITE_SIZE,
            unsafe_file_system: UnsafeFileSystem::Refused,
            seed: None,
            start_at: 0,
            without: None,
            faults: Faults::default(),
            disk: Arc::new(OsDisk::new()),
            clock: Arc::new(OsClock::new()),
        }
    }

    /// Size of new segment files in bytes, at most (default 64 MiB): a multiple of 4096 from 8 KiB
    /// to 2 GiB. The log is truncated by whole segments. May change between runs.
    ///
    /// A segment is as large as the log fills in about four seconds, from
    /// [`Self::min_segment_size`] to this. The next one is allocated when half of the last is
    /// filled.
    ///
    /// ```
    /// use highwater_wal::{Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let log = Wal::open_with(dir.path(), Options::new().segment_size(256 << 10))?;
    /// assert_eq!(log.stats().disk_bytes, 256 << 10);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn segment_size(mut self, bytes: u64) -> Self {
        self.segment_size = bytes;
        self
    }

    /// Whether the log writes down when each group was durable (default yes), by the wall clock at
    /// opening and the monotonic clock since. It costs 8 bytes per group. [`Wal::read_since`],
    /// [`Wal::time_of`] and [`Self::retain_for`] live by it. A log that has used it is of format
    /// version 2. May change between runs.
    ///
    /// [`Wal::read_since`]: crate::Wal::read_since
    /// [`Wal::time_of`]: crate::Wal::time_of
    ///
    /// ```
    /// use highwater_wal::{Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().min_segment_size(64 << 10).timestamps(false);
    /// let log = Wal::open_with(dir.path(), options)?;
    /// let lsn = log.append_sync("a record")?;
    /// assert_eq!(log.time_of(lsn)?, None);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn timestamps(mut self, written: bool) -> Self {
        self.timestamps = written;
        self
    }

    /// Has the log give up records that have been durable for longer than this (default: never), a
    /// whole segment at a time, as [`Wal::truncate_before`] would: readers, guards and cursors keep
    /// what they need. It is done when a segment is begun, when a producer begins to wait for room
    /// ([`Wal::wait_for_room`]), each second while one does, and once a minute; see
    /// [`Wal::apply_retention`].
    ///
    /// The time is the log's ([`Self::timestamps`]). If the wall clock is more than a day from it,
    /// retention by age pauses, with a warning: for a day after opening, or until the clock is
    /// right again. A clock that was set wrong does not delete the log.
    ///
    /// [`Wal::truncate_before`]: crate::Wal::truncate_before
    /// [`Wal::wait_for_room`]: crate::Wal::wait_for_room
    /// [`Wal::apply_retention`]: crate::Wal::apply_retention
    ///
    /// ```
    /// use highwater_wal::{Options, Wal};
    /// use std::time::Duration;
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().retain_for(Duration::from_hours(7 * 24));
    /// let log = Wal::open_with(dir.path(), options)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn retain_for(mut self, age: Duration) -> Self {
        self.retain_for = Some(age);
        self
    }

    /// Has the log give up its oldest segments while what is left has at least this many bytes
    /// (default: never): readers, guards and cursors keep what they need. When it is done: as
    /// [`Self::retain_for`]. With both, the one that gives up more decides.
    /// [`Self::max_bytes`] is something else: a bound at which appends are refused.
    ///
    /// ```
    /// use highwater_wal::{Lsn, Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(64 << 10).retain_bytes(128 << 10);
    /// let log = Wal::open_with(dir.path(), options)?;
    /// for _ in 0..100 {
    ///     let _ = log.append([0; 9000])?;
    /// }
    /// log.sync()?;
    /// log.apply_retention()?; // now, not some time later
    /// assert!(log.first_lsn() > Lsn::ZERO);
    /// assert!(log.end_lsn().bytes_since(log.first_lsn()) >= 128 << 10);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn retain_bytes(mut self, bytes: u64) -> Self {
        self.retain_bytes = Some(bytes);
        self
    }

    /// Size of the first segment file in bytes, and of the smallest (default 1 MiB, or
    /// [`Self::segment_size`] if that is less): a multiple of 4096 from 8 KiB on. With
    /// [`Self::segment_size`] here, all segments are of that size. May change between runs.
    ///
    /// ```
    /// use highwater_wal::{Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let log = Wal::open_with(dir.path(), Options::new().min_segment_size(64 << 10))?;
    /// assert_eq!(log.stats().disk_bytes, 64 << 10);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn min_segment_size(mut self, bytes: u64) -> Self {
        self.min_segment_size = Some(bytes);
        self
    }

    /// The largest record or batch in bytes, before it is compressed (default 16 MiB, or what fits
    /// a segment if that is less).
    ///
    /// ```
    /// use highwater_wal::{Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(1 << 20).max_record_bytes(1000);
    /// let log = Wal::open_with(dir.path(), options)?;
    /// assert!(log.append([0; 1001]).is_err());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record = Some(bytes);
        self
    }

    /// How long a commit waits for the producers that it has just seen, so that they share its
    /// flush (default 40 µs). A producer that is alone never waits. Zero turns it off.
    ///
    /// ```
    /// use highwater_wal::Options;
    /// use std::time::Duration;
    /// let options = Options::new().group_commit_wait(Duration::from_micros(100)); // a slow device
    /// ```
    #[must_use]
    pub fn group_commit_wait(mut self, wait: Duration) -> Self {
        self.group_commit_wait = wait;
        self
    }

    /// What `append_with` and `commit` wait for unless told otherwise (default
    /// [`Durability::Sync`]).
    ///
    /// ```
    /// use highwater_wal::{Durability, Options};
    /// use std::time::Duration;
    /// let options = Options::new().durability(Durability::Interval(Duration::from_millis(50)));
    /// ```
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Which thread preallocates segments and flushes (default [`Background::Thread`]).
    ///
    /// ```
    /// use highwater_wal::{Background, Options, Wal, disk::SimDisk};
    /// use std::sync::Arc;
    /// let disk = Arc::new(SimDisk::new());
    /// let options = Options::new().segment_size(64 << 10).disk(disk).background(Background::Inline);
    /// let log = Wal::open_with("/log", options)?; // each run makes the same calls of the disk
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// How appended bytes get to the disk (default [`WritePath::Auto`]).
    ///
    /// ```
    /// use highwater_wal::{Options, Wal, WritePath};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(1 << 20).write_path(WritePath::PageCache);
    /// let log = Wal::open_with(dir.path(), options)?;
    /// let _ = log.append("survives `kill -9`, and no power cut")?;
    /// assert_eq!(log.stats().write_path, WritePath::PageCache);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn write_path(mut self, path: WritePath) -> Self {
        self.write_path = path;
        self
    }

    /// How records are read (default [`ReadPath::Mapped`]). May change between runs.
    ///
    /// ```
    /// use highwater_wal::{Options, ReadPath};
    /// let options = Options::new().read_path(ReadPath::Copy); // no maps: nothing raises SIGBUS
    /// ```
    #[must_use]
    pub fn read_path(mut self, path: ReadPath) -> Self {
        self.read_path = path;
        self
    }

    /// The write path that the durability asks for.
    pub(crate) fn wanted_path(&self) -> WritePath {
        match (self.write_path, self.durability) {
            (WritePath::Auto, Durability::Interval(_) | Durability::Os) => WritePath::PageCache,
            (path, _) => path,
        }
    }

    /// Compression of batches (default [`Compression::Off`]). May change between runs.
    ///
    /// ```
    /// use highwater_wal::{Compression, Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// # #[cfg(feature = "zstd")] {
    /// let options = Options::new().compression(Compression::Zstd { level: 1 });
    /// # let options = options.segment_size(1 << 20);
    /// let log = Wal::open_with(dir.path(), options)?;
    /// let batch = log.append_batch(&["the same again and again"; 100])?;
    /// assert!(batch.end.bytes_since(batch.first) < 1000);
    /// # }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// The most disk space that segment files may take, in bytes (default: no bound), at least four
    /// of the largest segments: those that hold the log, one preallocated, and up to three kept for
    /// recycling. A warning is logged at 50 and at 80 percent.
    ///
    /// The last segment below the bound is a reserve: where only it is left, appends fail with
    /// [`WalError::LogFull`] until the log is truncated
    /// ([`Wal::wait_for_room`](crate::Wal::wait_for_room)). The reserve is for the program that
    /// frees the log: [`Wal::append_control`](crate::Wal::append_control) and
    /// [`Admission::Reserve`](crate::Admission::Reserve) may use it. What they append between two
    /// truncations has to fit it, or gets the same error.
    /// [`Wal::truncate_before`](crate::Wal::truncate_before) never needs room.
    ///
    /// The files take one segment more than the bound if the log is opened without room for the
    /// reserve: its reserve is in use, the bound was lowered, or a version without reserve filled
    /// it. They take more if a larger [`Self::segment_size`] was used before: the segment in use is
    /// not freed.
    ///
    /// ```
    /// use highwater_wal::{Options, Wal, WalError};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(64 << 10).max_bytes(256 << 10);
    /// let log = Wal::open_with(dir.path(), options)?;
    /// let full = loop {
    ///     if let Err(error) = log.append([0; 9000]) {
    ///         break error;
    ///     }
    /// };
    /// assert!(matches!(full, WalError::LogFull { .. }), "{full}");
    /// log.sync()?; // only what is durable can be truncated
    /// log.truncate_before(log.end_lsn())?;
    /// let _ = log.append([0; 9000])?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Pads each commit group to a multiple of `bytes` (a power of two from 4096 to 65536; default
    /// 0: off), so that a sector that holds acknowledged records is never written again while the
    /// log is open. For devices that may damage a sector, or a page, that they were writing when
    /// the power went: without it a group begins in the page in which the one before ended. Costs
    /// up to that many bytes per group. (Recovery writes the last group once more, whole.)
    ///
    /// ```
    /// use highwater_wal::{Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let log = Wal::open_with(dir.path(), Options::new().segment_size(1 << 20).seal_groups(4096))?;
    /// let lsn = log.append("alone in its page")?;
    /// log.sync_to(lsn)?;
    /// assert!(log.append("in a later one")?.get() / 4096 > lsn.get() / 4096);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn seal_groups(mut self, bytes: u64) -> Self {
        self.seal_groups = bytes;
        self
    }

    /// How urgently threads run while they make records durable or wait for that (default: as they
    /// are). Beside threads that compute without pause an ordinary thread waits for a time slice of
    /// milliseconds after each write. Where the process may not raise it (it needs `CAP_SYS_NICE`),
    /// it stays ordinary.
    ///
    /// ```
    /// use highwater_wal::{Options, Priority, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(1 << 20).committer_priority(Priority::RealTime(1));
    /// let log = Wal::open_with(dir.path(), options)?; // also where the process may not raise it
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn committer_priority(mut self, priority: Priority) -> Self {
        self.committer_priority = priority;
        self
    }

    /// Opens the log even on a network file system (NFS, SMB, 9P, ...), which is refused otherwise:
    /// locks, maps and flushes are not promised there, so nothing that this crate promises holds.
    ///
    /// ```
    /// use highwater_wal::Options;
    /// let options = Options::new().allow_unsafe_file_system(); // a test log on NFS, say
    /// ```
    #[must_use]
    pub fn allow_unsafe_file_system(mut self) -> Self {
        self.unsafe_file_system = UnsafeFileSystem::Allowed;
        self
    }

    /// Derives the identity of a new log from `seed` instead of from chance, so that simulations
    /// repeat exactly. Two logs of one identity cannot tell each other's segments apart: never use
    /// it for real data.
    ///
    /// ```
    /// use highwater_wal::{Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(64 << 10).log_id_seed(7);
    /// let one = Wal::open_with(dir.path().join("one"), options.clone())?;
    /// let two = Wal::open_with(dir.path().join("two"), options)?;
    /// assert_eq!(one.log_id(), two.log_id());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn log_id_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// A new log begins at the first page (4,096 bytes) at or after `lsn`, not at 0. So its LSNs
    /// come after those of another log whose place it takes. A log that is there already begins
    /// where it begins.
    ///
    /// Opening refuses an LSN above 2^62.
    ///
    /// ```
    /// use highwater_wal::{Lsn, Options, Wal};
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options::new().segment_size(64 << 10).start_at(Lsn::new(1_000_000));
    /// let log = Wal::open_with(dir.path(), options)?;
    /// assert_eq!(log.first_lsn(), Lsn::new(1_003_520));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn start_at(mut self, lsn: Lsn) -> Self {
        self.start_at = lsn.get();
        self
    }

    /// The disk (default: the machine's).
    ///
    /// ```
    /// use highwater_wal::{Options, Wal, disk::SimDisk};
    /// use std::sync::Arc;
    /// let disk = SimDisk::new(); // in memory: a test can cut its power
    /// let options = Options::new().segment_size(64 << 10).disk(Arc::new(disk.clone()));
    /// let log = Wal::open_with("/log", options)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// The clock (default: the machine's).
    ///
    /// ```
    /// use highwater_wal::{Options, Wal, disk::ManualClock};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// let clock = Arc::new(ManualClock::new(0)); // stands still until the test moves it
    /// let options = Options::new().segment_size(64 << 10).clock(clock.clone());
    /// let log = Wal::open_with(dir.path(), options)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Bytes of log between two writes of the durable LSN to the control file: small ones let a
    /// simulation meet them often.
    #[doc(hidden)]
    #[must_use]
    pub fn progress_interval(mut self, bytes: u64) -> Self {
        self.progress_interval = bytes;
        self
    }

    /// The longest single direct write of a commit group, whole pages: a short one lets a
    /// simulation go beyond what recovery searches.
    #[doc(hidden)]
    #[must_use]
    pub fn longest_write(mut self, bytes: u64) -> Self {
        self.longest_write = bytes;
        self
    }

    /// Turns off a mechanism that only tunes, to measure what it is worth.
    #[doc(hidden)]
    #[must_use]
    pub fn without(mut self, tuning: Tuning) -> Self {
        self.without = Some(tuning);
        self
    }

    /// Breaks the log on purpose, to show that the tests notice it.
    #[cfg(feature = "deliberate-faults")]
    #[doc(hidden)]
    #[must_use]
    pub fn cheat(mut self, cheat: crate::faults::Cheat) -> Self {
        self.faults = cheat.into();
        self
    }

    /// The smallest segment.
    pub(crate) fn smallest_segment(&self) -> u64 {
        self.min_segment_size
            .unwrap_or(DEFAULT_MIN_SEGMENT_SIZE.min(self.segment_size))
    }

    /// Where the first segment of a new log begins.
    pub(crate) fn first_base(&self) -> u64 {
        self.start_at.next_multiple_of(SEGMENT_ALIGNMENT)
    }

    /// The largest record or batch that the log will accept, in bytes.
    ///
    /// ```
    /// use highwater_wal::Options;
    /// assert_eq!(Options::new().max_record_bytes(1000).max_record(), 1000);
    /// ```
    #[must_use]
    pub fn max_record(&self) -> usize {
        self.max_record
            .unwrap_or(DEFAULT_MAX_RECORD.min(self.fits()))
    }

    /// The error of a record or batch of `size` bytes, which is over the limit.
    pub(crate) fn too_large(&self, size: usize) -> WalError {
        let segment = size > self.fits();
        let record = size > self.max_record.unwrap_or(DEFAULT_MAX_RECORD);
        WalError::RecordTooLarge {
            size,
            max: self.max_record(),
            raise: match (record, segment) {
                (true, true) => "`Options::max_record_bytes` and `Options::segment_size`",
                (false, true) => "`Options::segment_size`",
                (_, false) => "`Options::max_record_bytes`",
            },
        }
    }

    /// The largest payload that fits a segment.
    pub(crate) fn fits(&self) -> usize {
        let size = self.segment_size.max(MIN_SEGMENT_SIZE);
        to_usize(max_payload(size).saturating_sub(self.seal_groups.saturating_mul(2)))
    }

    /// Bytes at the end of a segment that records leave free: for the seal and, if groups are
    /// sealed, for a padding and a unit of its own for the seal.
    pub(crate) fn end_room(&self) -> u64 {
        match self.seal_groups {
            0 => FRAME_HEADER_SIZE,
            unit => unit.saturating_mul(2),
        }
    }

    /// The size of a segment in which a frame of `size` bytes fits.
    pub(crate) fn segment_for(&self, size: u64) -> u64 {
        SEGMENT_HEADER_SIZE + size + self.end_room()
    }

    /// Bytes of the longest segment after its header.
    pub(crate) fn records_room(&self) -> u64 {
        self.segment_size.saturating_sub(SEGMENT_HEADER_SIZE)
    }
}
