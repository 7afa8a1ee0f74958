//! Going from frame to frame of an open log: what is durable is read, and anything but an intact
//! frame is an error.

use crate::error::{Finding, Result, WalError};
use crate::format::compression::decompress;
use crate::format::frame::Encoding;
use crate::format::layout::to_usize;
use crate::log::shared::Shared;
use crate::lsn::{Lsn, StreamId};
use crate::marks::voids::Voids;
use crate::options::choices::ReadPath;
use crate::read::payload::Owner;
use crate::retention::guard::RetentionGuard;
use crate::segment::file::Segment;
use crate::segment::scan::{Check, Found, FoundFrame, LogScanner, Scanner};
use crate::segment::window::Window;
use std::ops::Range;
use std::sync::Arc;

/// A position that moves from frame to frame.
#[derive(Debug)]
pub(crate) struct FrameCursor {
    shared: Arc<Shared>,
    guard: RetentionGuard,
    scan: LogScanner,
    end: u64,
    segment: Option<Arc<Segment>>,
    /// The stream that is wanted, if not all are.
    only: Option<StreamId>,
    /// What was void when reading began, or was extended.
    voids: Option<Arc<Voids>>,
    stopped: bool,
}

impl FrameCursor {
    pub(crate) fn open(shared: &Arc<Shared>, from: Lsn, to: Lsn) -> Result<Self> {
        let cursor = Self::place(shared, from, to)?;
        for asked in [cursor.guard.lsn(), to] {
            shared.check_durable(asked)?;
        }
        Ok(cursor)
    }

    /// To read on from `from`, once that is durable. It may be as far as anything is appended.
    pub(crate) fn follow(shared: &Arc<Shared>, from: Lsn) -> Result<Self> {
        let cursor = Self::place(shared, from, Lsn::new(shared.commit.durable()))?;
        shared.segments.check_not_beyond(from)?;
        Ok(cursor)
    }

    fn place(shared: &Arc<Shared>, from: Lsn, to: Lsn) -> Result<Self> {
        let guard = match from {
            Lsn::ZERO => RetentionGuard::oldest(&shared.retention, &shared.reader_name),
            from => RetentionGuard::new(&shared.retention, from, &shared.reader_name)?,
        };
        Ok(Self {
            shared: Arc::clone(shared),
            scan: LogScanner::new(guard.lsn().get()),
            guard,
            end: to.get(),
            segment: None,
            only: None,
            voids: shared.marks.voids(shared.commit.durable()),
            stopped: false,
        })
    }

    pub(crate) fn position(&self) -> u64 {
        self.scan.position
    }

    /// Goes back to a frame that was found.
    pub(crate) fn go_back(&mut self, frame: &FoundFrame) {
        self.scan.position = frame.lsn().get();
    }

    /// Reads on to `end`, which is durable.
    pub(crate) fn extend(&mut self, end: u64) {
        self.end = self.end.max(end);
        self.voids = self.shared.marks.voids(self.end);
    }

    /// Whether the records of a frame that was found were taken back.
    #[inline]
    pub(crate) fn is_void(&self, frame: &FoundFrame) -> bool {
        let voids = self.voids.as_ref();
        voids.is_some_and(|voids| voids.contains(frame.lsn().get()))
    }

    /// What is void, for readers of the same range.
    pub(crate) fn voids(&self) -> Option<&Arc<Voids>> {
        self.voids.as_ref()
    }

    /// Says who reads.
    pub(crate) fn rename(&mut self, name: &str) {
        self.guard.rename(&Arc::from(name));
    }

    /// Passes over the records of other streams.
    pub(crate) fn keep_to(&mut self, stream: StreamId) {
        self.only = Some(stream);
    }

    /// Ends the reading: after an error there is nothing to go on from.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// The next frame of any kind.
    pub(crate) fn step(&mut self, check: Check) -> Result<Option<FoundFrame>> {
        loop {
            if self.stopped {
                return Ok(None);
            }
            let Some(only) = self.only else {
                return self.look(check);
            };
            // Of other streams the payload is not touched.
            let Some(frame) = self.look(Check::Header)? else {
                return Ok(None);
            };
            if frame.holds_records() && frame.header.stream != only {
                continue;
            }
            if check == Check::Header {
                return Ok(Some(frame));
            }
            self.go_back(&frame);
            return self.look(check);
        }
    }

    #[inline]
    fn look(&mut self, check: Check) -> Result<Option<FoundFrame>> {
        let Self {
            shared,
            guard,
            segment,
            scan,
            ..
        } = self;
        let found = scan.step(self.end, check, |position, before| {
            enter(shared, guard, segment, position, before).map(Some)
        });
        match found {
            Ok(Some(Found::Frame(frame))) => Ok(Some(frame)),
            Ok(None) => Ok(None),
            other => Err(self.explain(other)),
        }
    }

    #[cold]
    fn explain(&self, found: Result<Option<Found>>) -> WalError {
        match (found, &self.segment) {
            (Err(error @ WalError::Truncated { .. }), _) => error,
            (Err(error), _) => self.shared.reading_failed(error),
            (Ok(found), segment) => {
                let segment = segment.as_ref().expect("a step enters a segment");
                let error = no_intact_frame(segment, self.scan.position, found.as_ref());
                self.shared.reading_failed(error)
            }
        }
    }

    /// The segment of the frame that was just found.
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        self.segment.as_ref().expect("a step enters a segment")
    }

    /// The payload of the frame that was just found, its checksum right.
    #[inline]
    pub(crate) fn payload(&self, frame: &FoundFrame) -> &[u8] {
        self.scanner().payload(frame)
    }

    /// The payload of a frame that was found, with what keeps it readable: where it lies in that.
    pub(crate) fn owned(&self, frame: &FoundFrame) -> (Owner, Range<usize>) {
        match self.read_path() {
            ReadPath::Mapped => {
                let Range { start, end } = frame.payload();
                let segment = Arc::clone(self.segment());
                (Owner::Segment(segment), to_usize(start)..to_usize(end))
            }
            ReadPath::Copy => {
                let bytes = self.payload(frame).to_vec();
                let all = 0..bytes.len();
                (Owner::Buffer(Arc::new(bytes)), all)
            }
        }
    }

    /// Of a compressed batch that was found, what it holds.
    pub(crate) fn decompressed(&self, frame: &FoundFrame) -> Result<Option<Arc<Vec<u8>>>> {
        decompressed(self.segment(), frame, || self.payload(frame))
    }

    pub(crate) fn read_path(&self) -> ReadPath {
        self.scanner().window().read_path()
    }

    fn scanner(&self) -> &Scanner {
        self.scan.scanner().expect("a step enters a segment")
    }
}

/// Enters the segment that holds `position`, with the window of the one before.
fn enter(
    shared: &Shared,
    guard: &mut RetentionGuard,
    current: &mut Option<Arc<Segment>>,
    position: u64,
    before: Option<Scanner>,
) -> Result<Scanner> {
    let segment = shared
        .segments
        .containing(position)
        .ok_or_else(|| WalError::Truncated {
            asked: Lsn::new(position),
            first: Lsn::new(shared.retention.first()),
        })?;
    guard.advance(Lsn::new(position));
    let window = match before.map(Scanner::into_window) {
        Some(mut window) => {
            window.move_to(&segment);
            window
        }
        None => Window::of_segment(&segment, shared.options.read_path),
    };
    let scanner = Scanner::new(segment.as_file(), shared.key, window);
    *current = Some(segment);
    Ok(scanner)
}

/// What is wrong at `position`, where something else than an intact frame was found.
#[cold]
pub(crate) fn no_intact_frame(segment: &Segment, position: u64, found: Option<&Found>) -> WalError {
    if let Some(error) = segment.shortness() {
        return error;
    }
    let (finding, what) = match found {
        Some(Found::Unknown(raw)) => (Finding::UnknownFeature, raw.to_string()),
        Some(Found::BadPayload(_)) => (
            Finding::CorruptDurable,
            "the payload does not match its checksum; restore the file from a backup".to_owned(),
        ),
        Some(Found::Frame(_) | Found::Nothing) | None => (
            Finding::CorruptDurable,
            "no intact frame starts here: the position does not come from this log, or the file is damaged".to_owned(),
        ),
    };
    segment.corrupt(finding, position - segment.base, what)
}

/// Of a compressed batch, what it holds.
pub(crate) fn decompressed<'a>(
    segment: &Segment,
    frame: &FoundFrame,
    payload: impl FnOnce() -> &'a [u8],
) -> Result<Option<Arc<Vec<u8>>>> {
    match frame.header.encoding {
        Encoding::Plain => Ok(None),
        Encoding::Zstd(zstd) => {
            let bytes = decompress(zstd, payload());
            let bytes = bytes
                .map_err(|what| segment.corrupt(Finding::CorruptDurable, frame.offset, what))?;
            Ok(Some(Arc::new(bytes)))
        }
    }
}
