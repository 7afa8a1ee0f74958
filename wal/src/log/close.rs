//! Closing a log.

use crate::error::Result;
use crate::format::frame::FrameKind;
use crate::log::handle::Wal;
use crate::log::shared::Closing;
use crate::lsn::StreamId;
use crate::retention::budget::Claim;

impl Wal {
    /// Makes everything durable, marks the log as cleanly closed, and gives up the lock. Closing
    /// twice is no error. Readers, and the payloads read, stay usable. Dropping the log closes it
    /// too, but tells no errors.
    ///
    /// # Errors
    /// [`WalError::Poisoned`](crate::WalError::Poisoned); [`WalError::Io`](crate::WalError::Io) if
    /// there was no room for the mark: everything is durable all the same, and the log is closed.
    pub fn close(&self) -> Result<()> {
        let mut closing = self.shared.closing.lock();
        if *closing == Closing::Done {
            return Ok(());
        }
        self.shared.shut();
        self.shared.room.look();
        let result = self.finish();
        self.shared.commit.end();
        self.shared.flusher.stop();
        self.shared.preparer.stop();
        *self.shared.lock.lock() = None;
        *closing = Closing::Done;
        result
    }

    fn finish(&self) -> Result<()> {
        let shared = &self.shared;
        shared.commit.check()?;
        shared.sync_until(shared.end())?;
        let attested = shared.commit.durable().to_le_bytes();
        let mark = shared.append_as(
            Claim::Mark,
            FrameKind::Close.into(),
            StreamId::DEFAULT,
            &attested,
        );
        let (_, end) = match mark {
            Ok(mark) => mark,
            Err(error) => {
                // It can stand for the mark in so far as damage below it is no torn write.
                if let Err(error) = shared.ledger.attest(shared.commit.durable()) {
                    tracing::warn!(dir = %shared.dir.display(), %error, "the end could not be noted in LOG");
                }
                return Err(error.of_close_mark());
            }
        };
        shared.sync_until(end)?;
        // Proof that stands apart from the frames. Without it damage to the last sector would pass
        // for a torn write, so it is worth an attempt, but the records do not depend on it.
        if let Err(error) = shared.ledger.close(end) {
            tracing::warn!(dir = %shared.dir.display(), %error, "the clean end could not be noted in LOG");
        }
        Ok(())
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(dir = %self.shared.dir.display(), %error, "closing the log");
        }
    }
}
