//! The frames of a log as a tool shows them.

use crate::error::{Finding, Result, WalError};
use crate::format::batch::{RecordSplitter, batch_count};
use crate::format::compression::plain;
use crate::format::frame::{FrameHeader, FrameKind, LogKey, durable_lsn_in};
use crate::format::layout::{FRAME_ALIGNMENT, SEGMENT_HEADER_SIZE};
use crate::format::mark::Mark;
use crate::inspect::lone::LoneSegment;
use crate::inspect::moving::truncated_meanwhile;
use crate::lsn::{Lsn, StreamId};
use crate::marks::set::Marks;
use crate::retention::cursors::CursorInfo;
use crate::segment::header::SegmentFile;
use crate::segment::list::segment_holding;
use crate::segment::scan::{Check, Found, FoundFrame, LogScanner, Scanner};
use highwater_disk::Disk;
use std::path::PathBuf;
use std::sync::Arc;

/// One frame, with its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DumpedFrame {
    /// Where it starts.
    pub lsn: Lsn,
    /// First position after it.
    pub end_lsn: Lsn,
    /// What it is.
    pub kind: FrameKind,
    /// Its stream.
    pub stream: StreamId,
    /// The file that holds it.
    pub file: PathBuf,
    /// Where it starts in that file, in bytes.
    pub offset: u64,
    /// Its payload, decompressed if it is stored compressed.
    pub payload: Vec<u8>,
    /// Bytes that the payload takes in the file.
    pub stored_bytes: usize,
    /// Whether its records were taken back ([`Wal::void`](crate::Wal::void)), as far as the tool
    /// knew the log when it began. Readers of the log do not get them.
    pub is_void: bool,
}

impl DumpedFrame {
    /// A frame that was found, or why it is a batch that does not decompress.
    pub(crate) fn new(
        segment: &SegmentFile,
        found: &FoundFrame,
        payload: &[u8],
    ) -> std::result::Result<Self, String> {
        Ok(Self {
            lsn: found.lsn(),
            end_lsn: found.end_lsn(),
            kind: found.header.kind,
            stream: found.header.stream,
            file: segment.path.clone(),
            offset: found.offset,
            payload: plain(&found.header, payload)?.into_owned(),
            stored_bytes: found.header.payload_size(),
            is_void: false,
        })
    }

    /// The frame that `scanner` has just found.
    pub(crate) fn of(scanner: &Scanner, found: &FoundFrame) -> Result<Self> {
        let segment = &scanner.segment;
        Self::new(segment, found, scanner.payload(found))
            .map_err(|what| segment.corrupt(Finding::CorruptProven, found.offset, what))
    }

    /// The records: one of a data or control frame, those of a batch, none of other kinds.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_batch(&["one", "two"])?;
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// let frame = log.frames(Lsn::ZERO)?.next().expect("a frame")?;
    /// assert_eq!(frame.records(), [b"one", b"two"]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn records(&self) -> Vec<&[u8]> {
        let mut splitter = RecordSplitter::new(self.kind);
        let next = || splitter.next(&self.payload);
        std::iter::from_fn(next)
            .map(|(_, _, record)| record)
            .collect()
    }

    /// Of a durable-LSN record or a close frame: everything below this was durable.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_batch(&["one", "two"])?;
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// for frame in log.frames(Lsn::ZERO)? {
    ///     if let Some(durable) = frame?.durable_lsn() {
    ///         println!("everything below {durable} was durable");
    ///     }
    /// }
    /// # assert!(log.frames(Lsn::ZERO)?.any(|f| f.is_ok_and(|f| f.durable_lsn() > Some(Lsn::ZERO))));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn durable_lsn(&self) -> Option<Lsn> {
        durable_lsn_in(self.kind, &self.payload).map(Lsn::new)
    }
}

impl DumpedFrame {
    fn mark(&self) -> Option<Mark> {
        match self.kind.is_mark() {
            true => Mark::decode(self.kind, &self.payload, self.lsn.get()),
            false => None,
        }
    }

    /// Of a frame that takes records back: those whose frames start from the first position on and
    /// before the second.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let wrong = log.append("wrong")?;
    /// let _ = log.void(wrong, log.end_lsn())?;
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// let mut frames = log.frames(Lsn::ZERO)?.filter_map(Result::ok);
    /// let (from, _to) = frames.find_map(|frame| frame.void_range()).expect("there is one");
    /// assert_eq!(from, wrong);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn void_range(&self) -> Option<(Lsn, Lsn)> {
        match self.mark()? {
            Mark::Void { from, to } => Some((Lsn::new(from), Lsn::new(to))),
            Mark::Cursor { .. } => None,
        }
    }

    /// Of a mark of a cursor: its name, and where it is; `None` for one that was removed.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// let position = log.cursor("billing")?.position();
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// let mut frames = log.frames(Lsn::ZERO)?.filter_map(Result::ok);
    /// let cursor = frames.find_map(|frame| frame.cursor()).expect("there is one");
    /// assert_eq!(cursor, ("billing".to_owned(), Some(position)));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cursor(&self) -> Option<(String, Option<Lsn>)> {
        match self.mark()? {
            Mark::Cursor { name, position } => Some((name.to_string(), position.map(Lsn::new))),
            Mark::Void { .. } => None,
        }
    }
}

/// Iterates over the intact frames of a log: see [`Log::frames`](crate::inspect::Log::frames).
#[derive(Debug)]
pub struct DumpedFrames {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) key: LogKey,
    pub(crate) segments: Vec<SegmentFile>,
    pub(crate) scan: LogScanner,
    pub(crate) end: u64,
    /// What is wrong at `end`, if something is. It is returned after everything before it.
    pub(crate) damage: Option<WalError>,
    /// The file, if there is nothing else: then damaged places are passed over.
    pub(crate) lone: Option<LoneSegment>,
    /// What all marks up to there say.
    pub(crate) marks: Marks,
}

impl DumpedFrames {
    /// The cursors of the log, by name, as its intact marks say.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// drop(log.cursor("billing")?); // the log may stay in use
    /// let other = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// for cursor in other.frames(Lsn::ZERO)?.cursors() {
    ///     println!("{} is {} bytes behind", cursor.name, cursor.bytes);
    /// }
    /// # assert_eq!(other.frames(Lsn::ZERO)?.cursors().len(), 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn cursors(&self) -> Vec<CursorInfo> {
        let cursors = self.marks.cursors.iter();
        cursors
            .map(|(name, position)| CursorInfo::new(name, *position, self.end))
            .collect()
    }

    /// Ranges of the log whose records were taken back, ascending: from, and to.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let wrong = log.append("wrong")?;
    /// let _ = log.void(wrong, log.end_lsn())?;
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// assert_eq!(log.frames(Lsn::ZERO)?.voids()[0].0, wrong);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn voids(&self) -> Vec<(Lsn, Lsn)> {
        self.marks.voids.iter().collect()
    }

    /// Where the log ends, or is damaged: no frame from here on is returned.
    ///
    /// ```
    /// use highwater_wal::{Lsn, disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_batch(&["one", "two"])?;
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// let frames = log.frames(Lsn::ZERO)?;
    /// let end = frames.log_end();
    /// let last = frames.last().expect("a frame")?;
    /// assert_eq!(last.end_lsn, end);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn log_end(&self) -> Lsn {
        Lsn::new(self.end)
    }

    /// Where reading starts, and how many bytes of the log there are to the end.
    pub(crate) fn span(&self) -> (Lsn, u64) {
        let start = Lsn::new(self.scan.position);
        (start, Lsn::new(self.end).bytes_since(start))
    }

    /// Reads from `position` on, where a segment begins.
    pub(crate) fn begin_at(&mut self, position: u64) {
        self.scan = LogScanner::new(position);
    }

    /// The next frame, as `show` makes it of what was found.
    fn step<T>(&mut self, show: Show<T>) -> Result<Option<T>> {
        let Self {
            disk,
            key,
            segments,
            lone,
            ..
        } = self;
        let open = |position: u64, _: Option<Scanner>| {
            let segment = segment_holding(segments, position);
            let scanner = segment.map(|segment| match lone {
                None => Scanner::open(&**disk, segment, *key),
                Some(lone) => lone.scanner(&**disk),
            });
            scanner.transpose()
        };
        if self.scan.position >= self.end {
            return self.damage.take().map_or(Ok(None), Err);
        }
        let found = self.scan.step(self.end, Check::Payload, open)?;
        match (found, self.scan.scanner()) {
            (Some(found), Some(scanner)) => {
                let offset = self.scan.position.saturating_sub(scanner.segment.base);
                show(scanner, offset, &found).map(Some)
            }
            _ if self.scan.position >= self.end => self.damage.take().map_or(Ok(None), Err),
            _ => Ok(None),
        }
    }

    fn advance<T>(&mut self, show: Show<T>) -> Option<Result<T>> {
        let before = self.scan.position;
        let error = match self.step(show) {
            Ok(found) => return found.map(Ok),
            Err(error) => error,
        };
        let position = self.scan.position;
        if let Some(lone) = &self.lone {
            let (error, go_on_at) = pass_over(&*self.disk, lone, before, position, error);
            self.scan = LogScanner::new(go_on_at);
            return Some(Err(error));
        }
        let truncated = truncated_meanwhile(&*self.disk, &self.dir, position, &error);
        let (error, go_on_at) = truncated.unwrap_or((error, u64::MAX));
        self.scan = LogScanner::new(go_on_at);
        Some(Err(error))
    }

    /// The next frame, as the file has it.
    pub(crate) fn next_raw(&mut self) -> Option<Result<RawFrame>> {
        self.advance(RawFrame::of)
    }
}

/// What is wrong at `position` of a lone segment, and where to go on. If reading has come there
/// from `before`, the frame between them is wrong, and not this place.
fn pass_over(
    disk: &dyn Disk,
    lone: &LoneSegment,
    before: u64,
    position: u64,
    error: WalError,
) -> (WalError, u64) {
    let base = lone.segment.base;
    let offset = position.saturating_sub(base).max(SEGMENT_HEADER_SIZE);
    if before.saturating_sub(base).max(SEGMENT_HEADER_SIZE) < offset {
        return (error, position);
    }
    let next = lone.scanner(disk).ok().and_then(|mut scan| {
        let next = scan.next_intact(offset + FRAME_ALIGNMENT, u64::MAX);
        Some(base + next?)
    });
    let error = match (next, error) {
        (
            Some(next),
            WalError::Corrupt {
                finding: Finding::CorruptProven,
                ..
            },
        ) => {
            let what = format!(
                "there is no intact frame here, but one follows at LSN {next}; whether this place was ever durable is not \
                 known without the log"
            );
            lone.segment.corrupt(Finding::NoFrame, offset, what)
        }
        (_, error) => error,
    };
    (error, next.unwrap_or(u64::MAX))
}

/// What is made of the frame that was looked for at an offset.
type Show<T> = fn(&Scanner, u64, &Found) -> Result<T>;

/// A frame as the file has it.
#[derive(Debug)]
pub(crate) struct RawFrame {
    /// What holds it.
    pub(crate) segment: SegmentFile,
    pub(crate) found: FoundFrame,
    /// Header and payload.
    pub(crate) bytes: Vec<u8>,
}

impl RawFrame {
    fn of(scanner: &Scanner, offset: u64, found: &Found) -> Result<Self> {
        let Found::Frame(found) = found else {
            return Err(nothing_at(scanner, offset, found));
        };
        Ok(Self {
            segment: scanner.segment.clone(),
            found: *found,
            bytes: scanner.raw(found).to_vec(),
        })
    }
}

/// The frame that was looked for at `offset`.
pub(crate) fn shown(scanner: &Scanner, offset: u64, found: &Found) -> Result<DumpedFrame> {
    match found {
        Found::Frame(frame) => DumpedFrame::of(scanner, frame),
        other => Err(nothing_at(scanner, offset, other)),
    }
}

/// Why what was found at `offset` is no frame.
fn nothing_at(scanner: &Scanner, offset: u64, found: &Found) -> WalError {
    match found {
        Found::Unknown(raw) => scanner.segment.unknown_feature(offset, raw),
        _ => {
            let what = "no intact frame starts here: the position is wrong, or the file is damaged";
            scanner
                .segment
                .corrupt(Finding::CorruptProven, offset, what)
        }
    }
}

impl Iterator for DumpedFrames {
    type Item = Result<DumpedFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut next = self.advance(shown);
        if let Some(Ok(frame)) = &mut next {
            let void = self.marks.voids.contains(frame.lsn.get());
            frame.is_void = void && frame.kind.holds_records();
        }
        next
    }
}

/// How many records a frame holds, or why a batch does not decompress.
pub(crate) fn records_in(header: &FrameHeader, payload: &[u8]) -> std::result::Result<u64, String> {
    Ok(match header.kind {
        FrameKind::Data | FrameKind::Control => 1,
        FrameKind::Batch => {
            let payload = plain(header, payload)?;
            batch_count(&payload).map_or(0, u64::from)
        }
        FrameKind::DurableLsn
        | FrameKind::Seal
        | FrameKind::Close
        | FrameKind::Padding
        | FrameKind::DurableAt
        | FrameKind::Void
        | FrameKind::Cursor => 0,
    })
}
