//! What a log holds when it is opened.

use crate::cleaner::Cleaner;
use crate::current::Current;
use crate::error::OpenError;
use crate::inner::Inner;
use crate::pending::Pending;
use crate::record::{ENTRIES, STATE, State, decode};
use highwater_wal::{EntryIndex, FrameInfo, FrameKind, Lsn, Options, Wal};
use openraft::{LogId, RaftLogId, RaftTypeConfig};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

/// Settings of a store, beside those of its log.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) log: Options,
    pub(crate) max_pending_bytes: usize,
    pub(crate) max_read_bytes: usize,
    pub(crate) cleaner_thread: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

impl Settings {
    /// Those of an ordinary log; 64 MiB of entries that are not durable, 4 MiB in a message.
    ///
    /// ```
    /// let settings = highwater_openraft::Settings::new();
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            log: Options::new(),
            max_pending_bytes: 64 << 20,
            max_read_bytes: 4 << 20,
            cleaner_thread: true,
        }
    }

    /// Sets the options of the log: segments, bound on disk space, disk.
    ///
    /// ```
    /// let small = highwater_wal::Options::new().segment_size(1 << 20);
    /// let settings = highwater_openraft::Settings::new().log(small);
    /// ```
    #[must_use]
    pub fn log(mut self, options: Options) -> Self {
        self.log = options;
        self
    }

    /// Sets how many bytes of entries may be in memory that are not durable yet (default: 64 MiB).
    /// Above that an append waits for the disk. One entry may always be there.
    ///
    /// ```
    /// let settings = highwater_openraft::Settings::new().max_pending_bytes(1 << 20);
    /// ```
    #[must_use]
    pub fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.max_pending_bytes = bytes;
        self
    }

    /// Sets how many bytes of entries a replication message gets at most (default: 4 MiB); one
    /// entry at least.
    ///
    /// ```
    /// let settings = highwater_openraft::Settings::new().max_read_bytes(1 << 20);
    /// ```
    #[must_use]
    pub fn max_read_bytes(mut self, bytes: usize) -> Self {
        self.max_read_bytes = bytes;
        self
    }

    /// Sets whether a thread frees space (default), or the caller of `purge`: for tests on a
    /// simulated disk, which make the same calls every time.
    ///
    /// ```
    /// let settings = highwater_openraft::Settings::new().cleaner_thread(false);
    /// ```
    #[must_use]
    pub fn cleaner_thread(mut self, thread: bool) -> Self {
        self.cleaner_thread = thread;
        self
    }
}

/// Opens the log in `dir`, or makes one, and finds what it holds: reads the headers of its frames,
/// the newest state, the first entry and the last one.
pub(crate) fn open<C: RaftTypeConfig>(
    dir: &Path,
    settings: Settings,
) -> Result<(Arc<Inner<C>>, Cleaner), OpenError> {
    let wal = Arc::new(Wal::open_with(dir, settings.log)?);
    let found = Found::scan(&wal)?;
    let state: State<C::NodeId> = match found.state {
        Some(lsn) => decode(&payload(&wal, lsn)?, lsn)?,
        None => State::default(),
    };
    let start = Lsn::new(state.start);
    let kept: VecDeque<Lsn> = found
        .entries
        .into_iter()
        .filter(|at| *at >= start)
        .collect();
    let id_at = |lsn: &Lsn| -> Result<LogId<C::NodeId>, OpenError> {
        let entry: C::Entry = decode(&payload(&wal, *lsn)?, *lsn)?;
        Ok(entry.get_log_id().clone())
    };
    let first = kept.front().map(id_at).transpose()?;
    let last = kept.back().map(id_at).transpose()?;
    let purged = state.purged.as_ref().map(|purged| purged.index + 1);
    if let (Some(id), Some(expected), Some(lsn)) = (&first, purged, kept.front()) {
        check(*lsn, id.index, expected)?;
    }
    let begin = first.map(|id| id.index).or(purged).unwrap_or(0);
    if let (Some(id), Some(lsn)) = (&last, kept.back()) {
        check(*lsn, id.index, begin + kept.len() as u64 - 1)?;
    }
    let mut index = EntryIndex::new(begin);
    for lsn in kept {
        index.push(lsn);
    }
    let current = Current {
        index,
        pending: Pending::default(),
        last: last.or_else(|| state.purged.clone()),
        state,
        changes: 0,
    };
    let cleaner = Cleaner::new(Arc::clone(&wal), settings.cleaner_thread);
    let inner = Arc::new(Inner {
        wal,
        current: Mutex::new(current),
        max_pending: settings.max_pending_bytes,
        max_read: settings.max_read_bytes,
    });
    Ok((inner, cleaner))
}

fn check(lsn: Lsn, found: u64, expected: u64) -> Result<(), OpenError> {
    if found == expected {
        return Ok(());
    }
    Err(OpenError::Hole {
        lsn,
        found,
        expected,
    })
}

/// Where the records of a store are.
#[derive(Debug, Default)]
struct Found {
    entries: VecDeque<Lsn>,
    /// The newest one.
    state: Option<Lsn>,
}

impl Found {
    fn scan(wal: &Wal) -> Result<Self, OpenError> {
        let mut found = Self::default();
        for frame in wal.scan_headers(wal.first_lsn(), wal.durable_lsn())? {
            found.take(&frame?)?;
        }
        Ok(found)
    }

    fn take(&mut self, frame: &FrameInfo) -> Result<(), OpenError> {
        if frame.is_void {
            return Ok(());
        }
        match (frame.kind, frame.stream) {
            (FrameKind::Data, ENTRIES) => self.entries.push_back(frame.lsn),
            (FrameKind::Control, STATE) => self.state = Some(frame.lsn),
            (FrameKind::Data | FrameKind::Batch | FrameKind::Control, stream) => {
                return Err(OpenError::Foreign {
                    lsn: frame.lsn,
                    what: format!("a {} record of stream {}", frame.kind, stream.0),
                });
            }
            (_, _) => {}
        }
        Ok(())
    }
}

/// The payload of the record at `lsn`.
fn payload(wal: &Wal, lsn: Lsn) -> Result<Vec<u8>, OpenError> {
    match wal.read_from(lsn)?.next() {
        Some(record) => Ok(record?.payload.to_vec()),
        None => Err(OpenError::Foreign {
            lsn,
            what: "nothing that can be read".to_owned(),
        }),
    }
}
