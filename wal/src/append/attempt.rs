//! What the ways to append have in common.

use crate::error::Result;
use crate::facade::tracing;
use crate::format::frame::FrameKind;
use crate::format::layout::frame_size;
use crate::log::shared::{Patience, Refused, Shared};
use crate::lsn::{Lsn, StreamId};
use crate::retention::budget::AdmissionClass;
use crate::segment::frame_writer::NewFrame;

impl Shared {
    /// So many records were appended: they are counted, and flushed in time if the log has an
    /// interval.
    pub(crate) fn appended(&self, records: u64) {
        self.counters.appended(records);
        // The record is in the log: a caller that gets an error would append it again.
        if let Err(error) = self.flusher.flush_within(self.options.durability) {
            tracing::warn!(dir = %self.dir.display(), %error, "the periodic flush could not be started");
        }
    }

    /// Appends one record if that is possible without waiting.
    pub(crate) fn append_at_once(&self, payload: &[u8]) -> std::result::Result<Lsn, Refused> {
        self.check_size(payload.len())?;
        let frame = NewFrame::new(FrameKind::Data.into(), StreamId::DEFAULT, payload);
        let (start, _) = self.append_as(AdmissionClass::Ordinary, &frame, Patience::Never)?;
        self.appended(1);
        Ok(Lsn::new(start))
    }

    /// Appends a record that `write` puts in its place; where it starts.
    pub(crate) fn append_in_place(&self, len: usize, write: impl FnOnce(&mut [u8])) -> Result<u64> {
        let len = u32::try_from(len).expect("records are smaller than a segment");
        let (class, what) = (
            AdmissionClass::Ordinary,
            (FrameKind::Data.into(), StreamId::DEFAULT),
        );
        let mut write = Some(write);
        let size = frame_size(u64::from(len));
        let appended = self.append_with(class, size, Patience::Waits, |tail| {
            self.writer
                .append_in_place(what, len, &mut write, tail, class.reserver())
        });
        let (start, _) = appended.map_err(Refused::into_error)?;
        Ok(start)
    }
}
