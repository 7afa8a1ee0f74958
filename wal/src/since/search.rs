//! The position of a time, and the time of a position.

use crate::error::Result;
use crate::format::frame::durable_at_in;
use crate::log::shared::Shared;
use crate::lsn::Lsn;
use crate::read::frame_cursor::FrameCursor;
use crate::segment::scan::Check;
use std::sync::Arc;

/// What a frame says: everything below the position was durable at the time, in milliseconds.
type Stamp = (Lsn, u64);

/// The next frame that says so.
fn next_stamp(cursor: &mut FrameCursor) -> Result<Option<Stamp>> {
    while let Some(frame) = cursor.step(Check::Times)? {
        let stamp = match frame.header.kind.has_time() {
            true => durable_at_in(frame.header.kind, cursor.payload(&frame)),
            false => None,
        };
        if let Some((durable, time)) = stamp {
            return Ok(Some((Lsn::new(durable), time)));
        }
    }
    Ok(None)
}

impl Shared {
    /// Reads from the segment at `base` on.
    fn read_stamps(self: &Arc<Self>, base: u64) -> Result<FrameCursor> {
        FrameCursor::open(self, Lsn::new(base), Lsn::new(self.commit.durable()))
    }

    /// The highest position below which everything is known to have been durable before
    /// `time_ms`; the start of the log if there is none.
    pub(crate) fn position_at(self: &Arc<Self>, time_ms: u64) -> Result<Lsn> {
        // Keeps the log from its start on meanwhile.
        let start = self.read_stamps(0)?;
        let first = start.position();
        let bases = self.segments.bases(first, self.commit.durable());
        // The last segment whose first stamp is before the time. One without a stamp belongs to
        // those before the next one that has one.
        let (mut low, mut high) = (0, bases.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let base = bases.get(middle).copied().unwrap_or(first);
            match next_stamp(&mut self.read_stamps(base)?)? {
                Some((_, time)) if time < time_ms => low = middle + 1,
                Some(_) | None => high = middle,
            }
        }
        let base = low.checked_sub(1).and_then(|index| bases.get(index));
        let mut found = Lsn::new(first);
        let mut cursor = self.read_stamps(base.copied().unwrap_or(first))?;
        while let Some((durable, time)) = next_stamp(&mut cursor)? {
            if time >= time_ms {
                break;
            }
            found = found.max(durable);
        }
        drop(start);
        Ok(found)
    }

    /// The start of the first segment of which something may not have been durable before
    /// `time_ms`. Looks at one stamp for each segment before it, and one more.
    pub(crate) fn segments_before(self: &Arc<Self>, time_ms: u64) -> Result<Lsn> {
        let start = self.read_stamps(0)?;
        let mut until = start.position();
        for base in self.segments.bases(until, self.commit.durable()) {
            let mut stamps = self.read_stamps(base)?;
            let covers = loop {
                match next_stamp(&mut stamps)? {
                    Some((durable, _)) if durable.get() < base => {}
                    stamp => break stamp.is_some_and(|(_, time)| time < time_ms),
                }
            };
            if !covers {
                break;
            }
            until = base;
        }
        drop(start);
        Ok(Lsn::new(until))
    }

    /// When the record at `lsn` was known to be durable, in milliseconds since the Unix epoch;
    /// `None` if the log does not say.
    pub(crate) fn time_of(self: &Arc<Self>, lsn: Lsn) -> Result<Option<u64>> {
        let mut cursor = self.read_stamps(lsn.get())?;
        while let Some((durable, time)) = next_stamp(&mut cursor)? {
            if durable > lsn {
                return Ok(Some(time));
            }
        }
        Ok(None)
    }
}
