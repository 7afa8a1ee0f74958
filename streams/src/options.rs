//! Settings.

use crate::error::{Error, Result};
use crate::frame::config::Retention;
use highwater_disk::{Clock, Disk, OsClock, OsDisk};
use highwater_wal::{Background, Options as LogOptions};
use std::sync::Arc;
use std::time::Duration;

/// Settings of [`Streams::open`](crate::Streams::open).
///
/// ```
/// use highwater_streams::Options;
/// let options = Options::new().max_streams(10_000).max_log_bytes(1 << 30);
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) log: LogOptions,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) threads: Threads,
    pub(crate) max_streams: usize,
    pub(crate) max_producers: usize,
    pub(crate) max_log_bytes: Option<u64>,
    pub(crate) segment_bytes: u64,
    pub(crate) retention: Retention,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) move_below_percent: u64,
}

/// Who does what goes on beside requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    Own,
    /// Calls of [`Streams::tend`](crate::Streams::tend).
    None,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// 10 million streams, 1,024 producers of each; no bound of the log's length; all of a stream
    /// is kept; a checkpoint after 64 MiB of log, and after 30 seconds with changes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            log: LogOptions::new(),
            disk: Arc::new(OsDisk::new()),
            clock: Arc::new(OsClock::new()),
            threads: Threads::Own,
            max_streams: 10_000_000,
            max_producers: 1024,
            max_log_bytes: None,
            segment_bytes: 64 << 20,
            retention: Retention::default(),
            checkpoint_bytes: 64 << 20,
            checkpoint_interval: Duration::from_secs(30),
            move_below_percent: 25,
        }
    }

    /// How many streams there may be. Each takes some 250 bytes of memory.
    #[must_use]
    pub fn max_streams(mut self, count: usize) -> Self {
        self.max_streams = count;
        self
    }

    /// How many producers are known of one stream, at least 1. If there are more, the one that was
    /// silent for longest is forgotten: its retries would be taken for new.
    #[must_use]
    pub fn max_producers(mut self, count: usize) -> Self {
        self.max_producers = count.max(1);
        self
    }

    /// How long the log may be. At the bound, appends fail with
    /// [`LogFull`](highwater_wal::WalError::LogFull) until streams are deleted.
    #[must_use]
    pub fn max_log_bytes(mut self, bytes: u64) -> Self {
        self.max_log_bytes = Some(bytes);
        self
    }

    /// Length of the log's files. Default 64 MiB.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// How much is kept of streams that say nothing of it themselves.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// After so many bytes of log, and after so long with changes, the table is written beside the
    /// log, so that the next start reads no more than that.
    #[must_use]
    pub fn checkpoint_every(mut self, bytes: u64, interval: Duration) -> Self {
        self.checkpoint_bytes = bytes;
        self.checkpoint_interval = interval;
        self
    }

    /// The oldest file of the log is freed when at most this share of it is still needed: that is
    /// appended again. A larger share frees more, and writes more. Default 25. Whatever it says,
    /// the log is freed that way when it is more than twice as long as what is needed, and when it
    /// comes near its [bound](Self::max_log_bytes).
    #[must_use]
    pub fn move_below_percent(mut self, percent: u64) -> Self {
        self.move_below_percent = percent.min(100);
        self
    }

    /// The disk, for tests.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// The clock, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// No threads: what they would do is done by [`Streams::tend`](crate::Streams::tend).
    #[must_use]
    pub fn without_threads(mut self) -> Self {
        self.threads = Threads::None;
        self
    }

    /// Other settings of the log: those that this type has are set over them.
    #[must_use]
    pub fn log(mut self, options: LogOptions) -> Self {
        self.log = options;
        self
    }

    pub(crate) fn log_options(&self) -> Result<LogOptions> {
        if self.segment_bytes < 8 << 10 {
            let what = format!(
                "segments of {} bytes: they have 8 KiB or more",
                self.segment_bytes
            );
            return Err(Error::BadOptions { what });
        }
        let mut log = self.log.clone().segment_size(self.segment_bytes);
        if let Some(bytes) = self.max_log_bytes {
            log = log.max_bytes(bytes);
        }
        if self.threads == Threads::None {
            log = log.background(Background::Inline);
        }
        Ok(log
            .disk(Arc::clone(&self.disk))
            .clock(Arc::clone(&self.clock)))
    }
}
