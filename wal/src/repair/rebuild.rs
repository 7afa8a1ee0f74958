//! Writing a new log, frame by frame at the old places. Until its `LOG` is written nothing of it
//! counts.

use crate::control::features::{Feature, Features};
use crate::control::file::{self, ControlFile, LogEnd};
use crate::error::{Result, WalError};
use crate::format::frame::{
    FrameHeader, FrameKind, LogKey, SegmentHeader, durable_at_in, encode_header,
};
use crate::format::layout::{
    FRAME_HEADER_SIZE, MAX_SEGMENT_SIZE, MIN_SEGMENT_SIZE, SEGMENT_ALIGNMENT, SEGMENT_HEADER_SIZE,
    frame_size, segment_name, to_usize,
};
use crate::lsn::{Lsn, StreamId};
use crate::marks::set::Marks;
use crc32c::crc32c;
use highwater_disk::{DirLock, Disk, DiskFile};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BUFFER_SIZE: usize = 1 << 20;
/// The longest stretch of LSNs that is skipped: four thousand of the largest segments.
const MAX_SKIP: u64 = MAX_SEGMENT_SIZE << 12;

/// A log that is being written.
#[derive(Debug)]
pub(crate) struct Rebuild<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Path,
    key: LogKey,
    marks: Marks,
    features: Features,
    time_ms: u64,
    open: Option<NewSegment>,
    /// End of the last segment begun.
    end: u64,
    _lock: DirLock,
}

/// What becomes of a segment after its last frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The log goes on in the next one: a seal, unless there is one.
    Sealed,
    /// Frames are to be appended: its blocks are really written.
    Open,
}

#[derive(Debug)]
struct NewSegment {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    base: u64,
    size: u64,
    /// Bytes of `buffer` go here.
    start: u64,
    buffer: Vec<u8>,
    sealed: bool,
}

impl<'a> Rebuild<'a> {
    /// Begins a log in `dir`, which must be empty or not exist.
    pub(crate) fn begin(disk: &'a Arc<dyn Disk>, dir: &'a Path, key: LogKey) -> Result<Self> {
        let bad = |source| WalError::BadDirectory {
            dir: dir.to_owned(),
            source,
        };
        disk.create_dir_all(dir).map_err(bad)?;
        let lock = disk.lock_dir(dir).map_err(bad)?;
        if !disk.list(dir).map_err(bad)?.is_empty() {
            return Err(bad(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it is not empty: name a new directory (what an interrupted repair left is no log: remove it)",
            )));
        }
        Ok(Self {
            disk,
            dir,
            key,
            marks: Marks::default(),
            features: Features::default(),
            time_ms: 0,
            open: None,
            end: 0,
            _lock: lock,
        })
    }

    /// The segment that is open, if it starts at `base`.
    pub(crate) fn is_at(&self, base: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.base == base)
    }

    /// Whether the segment that is open takes no more frames.
    pub(crate) fn is_sealed(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.sealed)
    }

    /// Begins the segment at `base`; the one before ends.
    pub(crate) fn segment(&mut self, base: u64, size: u64) -> Result<()> {
        self.end_segment(Rest::Sealed)?;
        let path = self.dir.join(segment_name(Lsn::new(base)));
        // Under its own name at once: segments without `LOG` are refused, leftovers of a creation
        // are removed.
        let failed = |e| WalError::io("creating", &path, e);
        let file = self.disk.create_new(&path).map_err(failed)?;
        file.set_len(size).map_err(failed)?;
        let header = SegmentHeader {
            log_id: self.key.id,
            base,
            size,
        };
        let mut buffer = header.encode().to_vec();
        buffer.resize(to_usize(SEGMENT_HEADER_SIZE), 0);
        self.end = base + size;
        self.open = Some(NewSegment {
            path,
            file,
            base,
            size,
            start: 0,
            buffer,
            sealed: false,
        });
        Ok(())
    }

    /// Puts a frame of the old log after the last one, which must end at `lsn`.
    pub(crate) fn frame(&mut self, lsn: u64, kind: FrameKind, raw: &[u8]) -> Result<()> {
        let open = self.open.as_mut().expect("a segment was begun");
        assert_eq!(open.next(), lsn, "frames lie where they lay");
        open.sealed = kind == FrameKind::Seal;
        if let Some(feature) = Feature::of(kind) {
            self.features = self.features.with(feature);
        }
        let payload = raw.get(to_usize(FRAME_HEADER_SIZE)..).unwrap_or_default();
        if let Some((_, time)) = durable_at_in(kind, payload) {
            self.time_ms = self.time_ms.max(time);
        }
        open.put(raw)
    }

    /// Appends a frame with the `payload` as another log stored it, in a new segment if it does not
    /// fit the last one. Returns where it starts.
    pub(crate) fn append(&mut self, header: &FrameHeader, payload: &[u8]) -> Result<Lsn> {
        let size = header.frame_size();
        let fits = |open: &NewSegment| {
            let end = open.next() + size + FRAME_HEADER_SIZE; // with a seal after it
            end <= open.base + open.size
        };
        let open = self.open.as_ref().expect("a segment was begun");
        if !fits(open) {
            self.segment(self.end, open.size)?;
        }
        let open = self.open.as_mut().expect("a segment was begun");
        let lsn = open.next();
        let (len, body) = (payload.len(), crc32c(payload));
        let len = u32::try_from(len).expect("a segment is smaller than 4 GiB");
        let head = encode_header(header, header.stream, len, body, &self.key, lsn);
        open.put(&[&head, payload].concat())?;
        Ok(Lsn::new(lsn))
    }

    /// Segments without a frame from the end of the last one up to `until` or a little after it:
    /// LSNs there were used before and must not be used again.
    pub(crate) fn skip(&mut self, until: u64) -> Result<()> {
        if until.saturating_sub(self.end) > MAX_SKIP {
            return Err(WalError::no_log(
                self.dir,
                &format!(
                    "the old log says that LSN {until} was used, and is at {}: nothing that it says can be trusted",
                    self.end
                ),
            ));
        }
        while self.end < until {
            let base = self.end;
            let left = (until - base).next_multiple_of(SEGMENT_ALIGNMENT);
            self.segment(base, left.clamp(MIN_SEGMENT_SIZE, MAX_SEGMENT_SIZE))?;
        }
        Ok(())
    }

    pub(crate) fn log_id(&self) -> u128 {
        self.key.id
    }

    /// Where the next segment will start.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Sets where the first segment starts.
    pub(crate) fn start_at(&mut self, base: u64) {
        self.end = base;
    }

    fn end_segment(&mut self, rest: Rest) -> Result<()> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        if rest == Rest::Sealed && !open.sealed {
            let lsn = open.next();
            let body = crc32c(&[]);
            let seal = encode_header(FrameKind::Seal, StreamId::DEFAULT, 0, body, &self.key, lsn);
            open.put(&seal)?;
        }
        open.finish(rest)
    }

    /// What the marks of the new log say.
    pub(crate) fn set_marks(&mut self, marks: Marks) {
        if !marks.voids.is_empty() {
            self.features = self.features.with(Feature::Void);
        }
        if !marks.cursors.is_empty() {
            self.features = self.features.with(Feature::Cursors);
        }
        self.marks = marks;
    }

    /// Where the next frame is put.
    pub(crate) fn position(&self) -> u64 {
        self.open.as_ref().map_or(self.end, NewSegment::next)
    }

    /// Ends the log: its last segment stays open for appending. From here on it is a log.
    pub(crate) fn finish(mut self, first_lsn: u64) -> Result<Lsn> {
        let open = self.open.as_ref().expect("a log has a segment");
        let end = open.next();
        self.marks.forget_below(first_lsn);
        self.end_segment(Rest::Open)?;
        self.disk
            .sync_dir(self.dir)
            .map_err(|e| WalError::io("syncing the directory", self.dir, e))?;
        let meta = ControlFile {
            log_id: self.key.id,
            first_lsn,
            attested_lsn: end,
            reach: 0,
            end: LogEnd::Open,
            features: self.features,
            time_ms: self.time_ms,
            marks: self.marks,
        };
        meta.replace(&**self.disk, self.dir)?;
        file::prepare_spare(&**self.disk, self.dir, &meta);
        Ok(Lsn::new(end))
    }
}

impl NewSegment {
    /// LSN of the next frame.
    fn next(&self) -> u64 {
        self.base + self.start + self.buffer.len() as u64
    }

    fn put(&mut self, raw: &[u8]) -> Result<()> {
        let padded = frame_size(raw.len() as u64 - FRAME_HEADER_SIZE);
        let end = self.next() + padded;
        assert!(end <= self.base + self.size, "a frame fits its segment");
        self.buffer.extend_from_slice(raw);
        let padding = to_usize(padded) - raw.len();
        self.buffer.resize(self.buffer.len() + padding, 0);
        if self.buffer.len() >= BUFFER_SIZE {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file
            .write_all_at(&self.buffer, self.start)
            .map_err(|e| WalError::io("writing", &self.path, e))?;
        self.start += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self, rest: Rest) -> Result<()> {
        self.flush()?;
        while rest == Rest::Open && self.start < self.size {
            let left = to_usize(self.size - self.start);
            self.buffer.resize(left.min(BUFFER_SIZE), 0);
            self.flush()?;
        }
        self.file
            .sync()
            .map_err(|e| WalError::io("syncing", &self.path, e))
    }
}
