//! Appending marks: what is said of the log itself, and stays true after it.

use crate::control::features::Feature;
use crate::error::{Result, WalError};
use crate::format::layout::MAX_VOIDS;
use crate::format::mark::Mark;
use crate::log::shared::Shared;
use crate::lsn::{Lsn, StreamId};
use crate::retention::budget::AdmissionClass;
use crate::segment::frame_writer::NewFrame;

impl Shared {
    /// Appends a mark, and returns where its frame starts and ends. `LOG` names its feature before.
    pub(crate) fn append_mark(&self, mark: Mark) -> Result<(u64, u64)> {
        let kind = mark.kind();
        if let Some(feature) = Feature::of(kind) {
            self.commit.check()?;
            self.control.enable(feature)?;
        }
        let payload = mark.encode();
        let frame = NewFrame::new(kind.into(), StreamId::DEFAULT, &payload);
        self.marks.settle(self.commit.durable());
        let beginning = self.marks.begin(self.segments.end());
        let (start, end) = self.append(AdmissionClass::Reserve, &frame)?;
        beginning.record(mark, end);
        Ok((start, end))
    }

    /// Writes a mark of a cursor to the control file, where the log has no room for it. Returns up
    /// to where the log is durable then.
    pub(crate) fn mark_in_control_file(&self, mark: &Mark) -> Result<u64> {
        // A mark of the same cursor that is in the log must not come after this one: not in the
        // log, and not when it is opened. So the position that is written with this one lies after
        // all that were begun before.
        self.marks.wait_until_recorded();
        self.syncer.sync_until(self.segments.end())?;
        let durable = self.commit.durable();
        self.control.write_mark(mark, durable)?;
        Ok(durable)
    }

    /// Takes back the records whose frames start in a range.
    pub(crate) fn void(&self, from: Lsn, to: Lsn) -> Result<Lsn> {
        self.segments.check_not_beyond(to)?;
        let from = from.get().max(self.retention.first());
        if from >= to.get() {
            let first = self.retention.first();
            return Err(WalError::BadOptions {
                what: format!(
                    "nothing lies from LSN {from} to {to}, of a log that starts at {first}: there is nothing to take back"
                ),
            });
        }
        let to = to.get();
        if self.marks.has_voids(MAX_VOIDS) && self.marks.voids_with(from, to) > MAX_VOIDS {
            return Err(WalError::TooMany {
                what: "ranges that are void",
                most: MAX_VOIDS,
                remedy: "truncate the log beyond the oldest of them, or take back one range that covers several",
            });
        }
        let (start, _) = self.append_mark(Mark::Void { from, to })?;
        Ok(Lsn::new(start))
    }
}
