//! Closing a log.

use crate::error::Result;
use crate::facade::tracing;
use crate::format::frame::FrameKind;
use crate::log::shared::Shared;
use crate::lsn::StreamId;
use crate::retention::budget::AdmissionClass;
use crate::segment::frame_writer::NewFrame;

impl Shared {
    /// Makes everything durable, marks the log as cleanly closed, and gives up the lock.
    pub(crate) fn close(&self) -> Result<()> {
        let mut is_closed = self.is_closed.lock();
        if *is_closed {
            return Ok(());
        }
        if let Err(error) = self.log_cursors() {
            tracing::warn!(dir = %self.dir.display(), %error, "how far the cursors have come could not be written");
        }
        self.shut();
        self.room.notify();
        self.turn.wake();
        self.marks.wait_until_recorded();
        let result = self.append_close_frame();
        self.commit.end();
        self.flusher.stop();
        self.maintenance.stop();
        self.segments.retire();
        *self.lock.lock() = None;
        *is_closed = true;
        result
    }

    fn append_close_frame(&self) -> Result<()> {
        self.commit.check()?;
        self.syncer.sync_until(self.segments.end())?;
        let durable = self.commit.durable();
        let proof = durable.to_le_bytes();
        let frame = NewFrame::new(FrameKind::Close.into(), StreamId::DEFAULT, &proof);
        let (_, end) = match self.append(AdmissionClass::CloseFrame, &frame) {
            Ok(range) => range,
            Err(error) => {
                // This proves as much about damage below the end: it is no torn write.
                if let Err(error) = self.control.write_durable(durable) {
                    tracing::warn!(dir = %self.dir.display(), %error, "the end of the log could not be written to LOG");
                }
                return Err(error.of_close_frame());
            }
        };
        self.syncer.sync_until(end)?;
        // Proof apart from the frames. Without it damage to the last sector would pass for a torn
        // write, so it is worth an attempt. The records do not depend on it.
        if let Err(error) = self.control.write_closed(end) {
            tracing::warn!(dir = %self.dir.display(), %error, "the clean end could not be written to LOG");
        }
        Ok(())
    }
}
