//! Moving data out of the oldest segment of the log, so that the segment can be freed.
//!
//! The log frees whole segments from its front: one old message would keep everything after it. So
//! what is still needed of the oldest segment is appended again. Small pieces of a stream become
//! one block. Positions stay as they are.

use crate::error::{Error, Result};
use crate::frame::envelope::{Envelope, Kind, Place};
use crate::frame::links::Links;
use crate::reading::search::with_frame;
use crate::shared::core::{Core, SERVED};
use crate::state::stream::Stream;
use highwater_wal::{Admission, Lsn, Wal};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// No block is longer, unless a single frame is.
const MAX_BLOCK: u64 = 1 << 20;

/// What the log adds to each record of a frame, at most, and the envelope of a block.
const RECORD_BYTES: u64 = 8;
const ENVELOPE_BYTES: u64 = 128;
/// So much is in memory before it is appended.
const MAX_HELD: u64 = 16 << 20;

/// What is needed of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) base: u64,
    /// Where the next segment begins.
    pub(crate) end: u64,
    /// Bytes of frames that are needed.
    pub(crate) bytes: u64,
}

/// The bounds of the oldest segment; `None` if the log has only one, or not all of it is durable.
pub(crate) fn oldest_segment(wal: &Wal) -> Result<Option<(u64, u64)>> {
    let (first, durable) = (wal.first_lsn(), wal.durable_lsn());
    if first >= durable {
        return Ok(None);
    }
    let mut base = None;
    for info in wal.scan_headers(first, durable)? {
        let segment = info?.segment.get();
        match base {
            None => base = Some(segment),
            Some(base) if base != segment => return Ok(Some((base, segment))),
            Some(_) => {}
        }
    }
    Ok(None)
}

/// Whether a frame has data that is only there.
fn is_needed(stream: &Stream, envelope: &Envelope<'_>, lsn: u64) -> bool {
    if envelope.length.position == 0 {
        return false;
    }
    match envelope.kind {
        Kind::Moved => {
            let blocks = stream
                .extra
                .as_deref()
                .map_or(&[][..], |extra| &extra.moved);
            blocks.iter().any(|block| block.lsn == lsn)
        }
        _ => envelope.end().position > stream.moved_to().position,
    }
}

/// How long a block of a stream may become. It is given up as a whole: where a stream is not to
/// keep much, its blocks are short.
#[derive(Debug, Clone, Copy)]
struct Most {
    weight: u64,
    position: u64,
    /// From the oldest to the newest of it.
    age_ms: u64,
    /// Bytes of the frame that it is.
    frame: u64,
}

impl Most {
    fn of(core: &Core, stream: &Stream) -> Self {
        let keep = stream.retention();
        let share = |bound: Option<u64>| bound.map_or(u64::MAX, |bound| bound / 8);
        Self {
            weight: share(keep.bytes).min(MAX_BLOCK),
            position: share(keep.positions),
            age_ms: share(keep.age_ms),
            frame: core.wal.max_record_bytes() as u64,
        }
    }
}

/// Calls `each` with the frames of a segment that are needed, and how long blocks may become.
fn each_needed(
    core: &Core,
    (base, end): (u64, u64),
    mut each: impl FnMut(Most, &Envelope<'_>, &mut dyn Iterator<Item = &[u8]>) -> Result<()>,
) -> Result<u64> {
    let from = Lsn::new(base).max(core.wal.first_lsn());
    let reader = core.wal.read_range(from, Lsn::new(end))?;
    let mut reader = reader
        .only(SERVED)
        .named("moving what is needed of a segment");
    let mut bytes = 0;
    while let Some(frame) = reader.next_frame()? {
        let lsn = frame.lsn.get();
        let mut records = frame.records().map(|record| record.bytes());
        let header = records.next().unwrap_or_default();
        let envelope =
            Envelope::decode(header).map_err(|what| Error::Inconsistent { lsn, what })?;
        let needed = {
            let mut part = core.table.of_number(envelope.stream);
            let stream = part.numbered(envelope.stream);
            let stream = stream.filter(|stream| is_needed(stream, &envelope, lsn));
            stream.map(|stream| Most::of(core, stream))
        };
        if let Some(most) = needed {
            bytes += frame.end_lsn.bytes_since(frame.lsn);
            each(most, &envelope, &mut records)?;
        }
    }
    Ok(bytes)
}

/// How much of a segment is needed.
pub(crate) fn needed(core: &Core, (base, end): (u64, u64)) -> Result<Needed> {
    let bytes = each_needed(core, (base, end), |_, _, _| Ok(()))?;
    Ok(Needed { base, end, bytes })
}

/// Data of a stream that is about to be moved.
#[derive(Debug)]
struct Held {
    first: Place,
    length: Place,
    received_ms: u64,
    records: Vec<Vec<u8>>,
    /// When the oldest of it was received.
    since_ms: u64,
    most: Most,
}

impl Held {
    fn end(&self) -> Place {
        self.first.after(self.length)
    }

    /// Whether what follows is one block with it.
    fn goes_on_with(&self, next: &Self) -> bool {
        let whole = self.length.after(next.length);
        let records = (self.records.len() + next.records.len()) as u64;
        let frame = whole.weight + records * RECORD_BYTES + ENVELOPE_BYTES;
        self.end() == next.first
            && whole.weight <= self.most.weight
            && whole.position <= self.most.position
            && frame <= self.most.frame
            && next.received_ms.saturating_sub(self.since_ms) <= self.most.age_ms
    }

    fn push(&mut self, next: Self) {
        self.length = self.length.after(next.length);
        // Of the newest: its age is not overstated.
        self.received_ms = self.received_ms.max(next.received_ms);
        self.records.extend(next.records);
    }
}

/// A block that was appended, and is not in the table yet.
#[derive(Debug)]
struct Appended {
    stream: u64,
    first: Place,
    length: Place,
    lsn: u64,
}

/// Appends again what is needed of a segment. When it returns, that is durable, and readers find it
/// in its new place. The caller takes no checkpoint meanwhile.
pub(crate) fn move_segment(core: &Core, bounds: (u64, u64)) -> Result<()> {
    let mut moving = Moving {
        core,
        end: bounds.1,
        held: BTreeMap::new(),
        held_bytes: 0,
        appended: Vec::new(),
    };
    each_needed(core, bounds, |most, envelope, records| {
        moving.take(most, envelope, records)
    })?;
    moving.append_all()?;
    // Readers are led to what they can read: the log shows nothing that is not durable.
    core.wal.sync()?;
    for block in moving.appended {
        apply(core, &block)?;
    }
    Ok(())
}

fn apply(core: &Core, block: &Appended) -> Result<()> {
    let mut part = core.table.of_number(block.stream);
    part.applied = part.applied.max(block.lsn);
    if let Some(stream) = part.numbered(block.stream) {
        let envelope = envelope(block.stream, block.first, block.length, 0);
        let applied = stream.apply(&envelope, block.lsn, core.options.max_producers);
        let inconsistent = |what| Error::Inconsistent {
            lsn: block.lsn,
            what,
        };
        applied.map_err(inconsistent)?;
    }
    Ok(())
}

fn envelope(stream: u64, first: Place, length: Place, received_ms: u64) -> Envelope<'static> {
    Envelope {
        kind: Kind::Moved,
        stream,
        index: 0,
        first,
        length,
        received_ms,
        links: Links::default(),
        closes: false,
        mark: None,
        batch: None,
        stream_sequence: None,
        config: None,
        start: None,
    }
}

struct Moving<'a> {
    core: &'a Core,
    /// Where the segment ends.
    end: u64,
    /// By stream and position: in the log a block may come after what follows it in its stream.
    held: BTreeMap<(u64, u64), Held>,
    held_bytes: u64,
    appended: Vec<Appended>,
}

impl Moving<'_> {
    fn take(
        &mut self,
        most: Most,
        envelope: &Envelope<'_>,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<()> {
        let held = Held {
            first: envelope.first,
            length: envelope.length,
            received_ms: envelope.received_ms,
            records: records.map(<[u8]>::to_vec).collect(),
            since_ms: envelope.received_ms,
            most,
        };
        self.held_bytes += held.length.weight;
        self.held
            .insert((envelope.stream, held.first.position), held);
        match self.held_bytes > MAX_HELD {
            true => self.append_all(),
            false => Ok(()),
        }
    }

    fn append_all(&mut self) -> Result<()> {
        self.held_bytes = 0;
        let mut block: Option<(u64, Held)> = None;
        for ((number, _), held) in std::mem::take(&mut self.held) {
            match &mut block {
                Some((of, block)) if *of == number && block.goes_on_with(&held) => block.push(held),
                block => {
                    if let Some((number, whole)) = block.replace((number, held)) {
                        self.append(number, whole)?;
                    }
                }
            }
        }
        match block {
            Some((number, whole)) => self.append(number, whole),
            None => Ok(()),
        }
    }

    fn append(&mut self, number: u64, held: Held) -> Result<()> {
        let held = self.with_block_before(number, held)?;
        let envelope = envelope(number, held.first, held.length, held.received_ms);
        let records: Vec<&[u8]> = held.records.iter().map(Vec::as_slice).collect();
        match self.core.append(&envelope, &records, Admission::Reserve)? {
            Ok(range) => {
                let counters = &self.core.counters;
                counters
                    .moved_bytes
                    .fetch_add(held.length.weight, Ordering::Relaxed);
                self.appended.push(Appended {
                    stream: number,
                    first: held.first,
                    length: held.length,
                    lsn: range.first.get(),
                });
                Ok(())
            }
            Err(refusal) => Err(Error::Inconsistent {
                lsn: 0,
                what: format!(
                    "a block of stream number {number} does not fit into the log: {refusal}"
                ),
            }),
        }
    }

    /// With the block before it, if that is no longer than it, and stays where it is: small blocks
    /// become few.
    fn with_block_before(&self, number: u64, held: Held) -> Result<Held> {
        let before = {
            let mut part = self.core.table.of_number(number);
            let stream = part.numbered(number);
            let blocks = stream.and_then(|stream| stream.extra.as_deref());
            let blocks = blocks.map_or(&[][..], |extra| &extra.moved);
            blocks
                .iter()
                .find(|block| block.end() == held.first)
                .copied()
        };
        let Some(before) = before
            .filter(|block| block.lsn >= self.end && block.length.weight <= held.length.weight)
        else {
            return Ok(held);
        };
        let found = with_frame(self.core, before.lsn, |frame, envelope| {
            let records = frame.records().skip(1).map(|record| record.to_vec());
            (records.collect::<Vec<_>>(), envelope.received_ms)
        })?;
        let Some((records, received_ms)) = found else {
            return Ok(held);
        };
        let mut whole = Held {
            first: before.first,
            length: before.length,
            received_ms,
            since_ms: received_ms,
            records,
            most: held.most,
        };
        if !whole.goes_on_with(&held) {
            return Ok(held);
        }
        whole.push(held);
        Ok(whole)
    }
}
