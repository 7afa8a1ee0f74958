//! What all handles of an open log share, and appending.

use crate::commit::flusher::Flusher;
use crate::commit::sync::Commit;
use crate::control::writer::Ledger;
use crate::error::{Result, WalError};
use crate::format::compression::BatchCompressor;
use crate::format::frame::{FrameKind, HeaderBytes, LogKey, Tag, encode_header};
use crate::format::layout::{FRAME_ALIGNMENT, FRAME_HEADER_SIZE, frame_size, to_usize};
use crate::lsn::{Lsn, StreamId};
use crate::metrics::meters::Meters;
use crate::metrics::stats::Counters;
use crate::options::Options;
use crate::recovery::cases::Recovery;
use crate::retention::budget::Claim;
use crate::retention::room::Room;
use crate::retention::truncation::Retention;
use crate::segment::file::{Segment, Stores};
use crate::segment::preallocator::Preparer;
use arc_swap::ArcSwap;
use crc32c::{crc32c, crc32c_append};
use highwater_disk::{AppendMap, Clock, DirLock, Disk, Reservation, ReserveError, Reserver};
use parking_lot::{Mutex, RwLock};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

static ZEROS: [u8; 4096] = [0; 4096];

/// So many segments may be appended to through the page cache before the first of them is synced.
const MOST_UNSYNCED: usize = 64;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) max_record: usize,
    /// Bytes at the end of a segment that records leave free.
    end_room: u64,
    /// What readers are called in [`Pin`](crate::Pin).
    pub(crate) reader_name: Arc<str>,
    pub(crate) key: LogKey,
    pub(crate) compressor: BatchCompressor,
    /// The segment that is appended to. Appenders read it without a lock; it is replaced with
    /// `rotation` held.
    pub(crate) tail: ArcSwap<Segment>,
    /// Set, once, with `rotation` held.
    closed: AtomicBool,
    /// All segments that count, by base; the tail is the last.
    pub(crate) segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    /// Serialises going to the next segment.
    rotation: Mutex<()>,
    pub(crate) preparer: Preparer,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) commit: Commit,
    pub(crate) flusher: Flusher,
    pub(crate) retention: Retention,
    pub(crate) room: Room,
    pub(crate) counters: Arc<Counters>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) recovery: Recovery,
    pub(crate) lock: Mutex<Option<DirLock>>,
    pub(crate) closing: Mutex<Closing>,
}

/// How far closing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    NotYet,
    Done,
}

/// What [`Shared::new`] is made from.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) key: LogKey,
    pub(crate) segments: BTreeMap<u64, Arc<Segment>>,
    pub(crate) tail: Arc<Segment>,
    pub(crate) preparer: Preparer,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) durable: u64,
    pub(crate) first_lsn: u64,
    pub(crate) recovery: Recovery,
    pub(crate) lock: DirLock,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            dir,
            options,
            key,
            segments,
            tail,
            preparer,
            ledger,
            counters,
            meters,
            durable,
            first_lsn,
            recovery,
            lock,
        } = parts;
        Self {
            dir,
            disk: Arc::clone(&options.disk),
            clock: Arc::clone(&options.clock),
            max_record: options.max_record(),
            end_room: options.end_room(),
            reader_name: Arc::from("a reader"),
            key,
            compressor: BatchCompressor::new(options.compression),
            tail: ArcSwap::new(tail),
            closed: AtomicBool::new(false),
            segments: RwLock::new(segments),
            rotation: Mutex::new(()),
            preparer,
            ledger,
            commit: Commit::new(durable),
            flusher: Flusher::default(),
            retention: Retention::new(first_lsn),
            room: Room::default(),
            counters,
            meters,
            recovery,
            lock: Mutex::new(Some(lock)),
            closing: Mutex::new(Closing::NotYet),
            options,
        }
    }

    /// Everything below is handed out.
    pub(crate) fn end(&self) -> u64 {
        let tail = self.tail.load();
        tail.base + tail.map().reserved()
    }

    /// Appends one frame that users asked for.
    pub(crate) fn append(
        &self,
        claim: Claim,
        tag: Tag,
        stream: StreamId,
        payload: &[u8],
    ) -> Result<(u64, u64)> {
        if payload.len() > self.max_record {
            return Err(self.options.too_large(payload.len()));
        }
        self.append_as(claim, tag, stream, payload)
    }

    /// Where records end in a segment, at the latest. One that was made with other options may be
    /// smaller than what they leave free: then it is full.
    fn limit(&self, map: &AppendMap) -> u64 {
        map.capacity().saturating_sub(self.end_room)
    }

    /// Appends one frame and returns where it starts and ends. Takes no lock unless the segment is
    /// full.
    pub(crate) fn append_as(
        &self,
        claim: Claim,
        tag: Tag,
        stream: StreamId,
        payload: &[u8],
    ) -> Result<(u64, u64)> {
        let frame = NewFrame::new(tag, stream, payload);
        loop {
            self.commit.check()?;
            let full = {
                let tail = self.tail.load();
                let map = tail.map();
                // Only after the tail is loaded: that it is the reserve was noted before it became
                // the tail.
                self.check_claim(claim, &tail)?;
                match map.reserve(frame.size, self.limit(map), claim.asker()) {
                    Ok(region) => return Ok(frame.write(region, &tail, &self.key)),
                    Err(ReserveError::Closed) => return Err(self.closed_error()),
                    Err(ReserveError::Full) => tail.base,
                }
            };
            self.rotate(full, claim)?;
        }
    }

    /// Appends a frame only if the tail is open and has room for it; for frames that are welcome
    /// but not needed.
    pub(crate) fn append_if_room(&self, kind: FrameKind, payload: &[u8]) -> Option<(u64, u64)> {
        let frame = NewFrame::new(kind.into(), StreamId::DEFAULT, payload);
        let tail = self.tail.load();
        let map = tail.map();
        let region = map
            .reserve(frame.size, self.limit(map), Reserver::Committer)
            .ok()?;
        Some(frame.write(region, &tail, &self.key))
    }

    /// Refuses every append from now on, but those of the closer.
    pub(crate) fn shut(&self) {
        let _alone = self.rotation.lock();
        self.closed.store(true, Ordering::Release);
        self.tail.load().map().close();
    }

    /// Whether every append but the closer's is refused.
    pub(crate) fn is_shut(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn closed_error(&self) -> WalError {
        WalError::Closed {
            dir: self.dir.clone(),
        }
    }

    /// Goes to the next segment, unless somebody else already left the one at `full`.
    fn rotate(&self, full: u64, claim: Claim) -> Result<()> {
        self.bound_unsynced(full)?;
        let _alone = self.rotation.lock();
        let old = self.tail.load_full();
        if old.base != full {
            return Ok(());
        }
        let closed = self.is_shut();
        if closed && claim != Claim::Mark {
            return Err(self.closed_error());
        }
        self.check_another(claim)?;
        // Its name is durable before the seal exists: a sealed last segment therefore means that
        // one is missing.
        let next = self.preparer.take().map_err(|e| self.explain(e))?;
        if closed {
            next.map().close();
        }
        self.seal(&old);
        self.preparer.budget().hold(next.size);
        let released = {
            let mut segments = self.segments.write();
            segments.insert(next.base, Arc::clone(&next));
            release_memory(&mut segments, self.commit.durable(), old.base)
        };
        self.tail.store(next);
        self.preparer.rotated(released);
        self.meters.tell(&self.stats());
        Ok(())
    }

    /// What is appended and not synced stands in memory of the process: two segments of it at most.
    /// Whoever fills the second before the first is durable syncs it. In the page cache the file
    /// must stay open until its errors are known, and a process may open only so many:
    /// [`MOST_UNSYNCED`].
    fn bound_unsynced(&self, full: u64) -> Result<()> {
        let Some(segment) = self.segment_of(full) else {
            return Ok(());
        };
        let durable = self.commit.durable();
        if durable >= full {
            return Ok(());
        }
        let unsynced = self.segments.read().range(durable..=full).count();
        match segment.stores() {
            Stores::PageCache if unsynced < MOST_UNSYNCED => Ok(()),
            Stores::PageCache | Stores::Staged => self.sync_until(full),
        }
    }

    /// Pads the tail to a multiple of the unit of sealed groups, if it does not end at one, and
    /// returns where the group has to end. There is room: records leave two units free.
    pub(crate) fn pad(&self) -> Option<u64> {
        let unit = self.options.seal_groups;
        if unit == 0 {
            return None;
        }
        let tail = self.tail.load();
        let map = tail.map();
        let end = Cell::new(0);
        let padding = |offset: u64| {
            let padding = match offset.next_multiple_of(unit) - offset {
                short @ 1..FRAME_HEADER_SIZE => short + unit,
                rest => rest,
            };
            end.set(offset + padding);
            padding
        };
        // Refused if there is nothing to pad: also at the end of a segment that was sealed
        // meanwhile.
        if let Ok(region) = map.reserve_with(map.capacity(), Reserver::Closer, padding) {
            self.blank(FrameKind::Padding, &tail, region);
        }
        Some(tail.base + end.get())
    }

    /// Fills the rest of a segment. Every append leaves room for the header of a seal.
    fn seal(&self, segment: &Segment) {
        let map = segment.map();
        let rest = |offset: u64| map.capacity() - offset;
        if let Ok(region) = map.reserve_with(map.capacity(), Reserver::Closer, rest) {
            self.blank(FrameKind::Seal, segment, region);
        }
    }

    /// Fills a region with a frame whose payload, if the kind has one, is zeros.
    fn blank(&self, kind: FrameKind, segment: &Segment, region: Reservation<'_>) {
        let zeros = region.size_bytes() - FRAME_HEADER_SIZE;
        let payload_len = match kind {
            FrameKind::Padding => zeros,
            _ => 0,
        };
        let body_crc = zeros_crc(to_usize(payload_len));
        let payload_len = u32::try_from(payload_len).expect("padding is shorter than a segment");
        let lsn = segment.base + region.offset();
        let stream = StreamId::DEFAULT;
        let header = encode_header(kind, stream, payload_len, body_crc, &self.key, lsn);
        let mut parts: Vec<&[u8]> = vec![&header];
        parts.extend(zero_parts(to_usize(zeros)));
        region.fill(&parts);
    }

    /// The segment that holds `lsn`.
    pub(crate) fn segment_of(&self, lsn: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let (_, segment) = segments.range(..=lsn).next_back()?;
        (lsn < segment.end()).then(|| Arc::clone(segment))
    }

    /// Up to where the log has to be durable for those who wait for `lsn`: a little further than
    /// that, so that the record there is, or up to the end, where none is. Refuses positions behind
    /// the end.
    pub(crate) fn awaited_below(&self, lsn: Lsn) -> Result<u64> {
        match Lsn::new(self.end()) {
            end if lsn < end => Ok(lsn.get() + 1),
            end if lsn == end => Ok(lsn.get()),
            end => Err(WalError::BeyondEnd { asked: lsn, end }),
        }
    }

    /// Refuses positions behind the end. Everything below the end itself was handed out.
    pub(crate) fn check_not_beyond(&self, lsn: Lsn) -> Result<()> {
        match Lsn::new(self.end()) {
            end if lsn <= end => Ok(()),
            end => Err(WalError::BeyondEnd { asked: lsn, end }),
        }
    }

    /// Refuses positions below which not everything is durable.
    pub(crate) fn check_durable(&self, lsn: Lsn) -> Result<()> {
        let durable = Lsn::new(self.commit.durable());
        if lsn <= durable {
            return Ok(());
        }
        self.check_not_beyond(lsn)?;
        Err(WalError::NotDurable {
            asked: lsn,
            durable,
            end: Lsn::new(self.end()),
        })
    }
}

/// So many zeros, in parts.
fn zero_parts<'a>(mut left: usize) -> impl Iterator<Item = &'a [u8]> {
    std::iter::from_fn(move || {
        let part = ZEROS.split_at(left.min(ZEROS.len())).0;
        left -= part.len();
        (!part.is_empty()).then_some(part)
    })
}

fn zeros_crc(len: usize) -> u32 {
    zero_parts(len).fold(0, crc32c_append)
}

/// Segments below the one at `sealed` are read from their files from now on. The one that was just
/// sealed keeps its memory: whoever follows the log is still reading it.
fn release_memory(
    segments: &mut BTreeMap<u64, Arc<Segment>>,
    durable: u64,
    sealed: u64,
) -> Vec<Arc<Segment>> {
    let mut released = Vec::new();
    for segment in segments.range_mut(..sealed).map(|(_, segment)| segment) {
        if segment.end() <= durable
            && let Some(from_file) = segment.without_memory()
        {
            released.push(std::mem::replace(segment, Arc::new(from_file)));
        }
    }
    released
}

/// A frame whose payload is checked out and checksummed, before it has a place.
struct NewFrame<'a> {
    tag: Tag,
    stream: StreamId,
    payload: &'a [u8],
    payload_len: u32,
    body_crc: u32,
    size: u64,
}

impl<'a> NewFrame<'a> {
    fn new(tag: Tag, stream: StreamId, payload: &'a [u8]) -> Self {
        let payload_len = u32::try_from(payload.len()).expect("records are smaller than a segment");
        let size = frame_size(u64::from(payload_len));
        Self {
            tag,
            stream,
            payload,
            payload_len,
            body_crc: crc32c(payload),
            size,
        }
    }

    fn write(&self, region: Reservation<'_>, segment: &Segment, key: &LogKey) -> (u64, u64) {
        let lsn = segment.base + region.offset();
        let header: HeaderBytes = encode_header(
            self.tag,
            self.stream,
            self.payload_len,
            self.body_crc,
            key,
            lsn,
        );
        let used = FRAME_HEADER_SIZE + u64::from(self.payload_len);
        let padding = [0; to_usize(FRAME_ALIGNMENT)];
        let (padding, _) = padding.split_at(to_usize(self.size - used));
        region.fill(&[&header, self.payload, padding]);
        (lsn, lsn + self.size)
    }
}
