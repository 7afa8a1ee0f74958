//! What repair would keep and lose, without writing.

use crate::error::Result;
use crate::inspect::log::{Log, Progress};
use crate::lsn::Lsn;
use crate::repair::lost::Losses;
use crate::repair::repair::survey;
use crate::repair::source::Source;

/// What [`Log::repair_plan`] found.
#[derive(Debug)]
#[non_exhaustive]
pub struct RepairPlan {
    /// Everything below this would be kept, and nothing from here on.
    pub kept_until: Lsn,
    /// Frames that would be kept.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Intact frames after that: repair would lose them, salvage would save them.
    pub frames_after: u64,
    /// Records in them.
    pub records_after: u64,
    /// What was durable and would be lost, from `kept_until` on; empty if nothing is.
    pub lost: Losses,
    /// Every place without an intact frame that something follows, also what a crash tore.
    pub holes: Losses,
}

impl Log {
    /// What [`repair`](crate::inspect::repair) would keep and lose of this log as it is now. Reads
    /// all of it, changes nothing, and takes no lock. `progress` is called now and then.
    ///
    /// ```
    /// use highwater_wal::{disk::OsDisk, inspect::Log};
    /// use std::sync::Arc;
    /// # let dir = tempfile::tempdir()?;
    /// # let small = highwater_wal::Options::new().segment_size(64 << 10);
    /// # let log = highwater_wal::Wal::open_with(dir.path(), small)?;
    /// # let _ = log.append_batch(&["one", "two"])?;
    /// # log.close()?;
    /// # drop(log);
    /// let log = Log::open(Arc::new(OsDisk::new()), dir.path())?;
    /// let plan = log.repair_plan(|_| ())?;
    /// assert_eq!((plan.records, plan.records_after), (2, 0));
    /// assert!(plan.lost.is_empty() && plan.holes.is_empty(), "this log is not damaged");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`repair`](crate::inspect::repair), but for those of the new log.
    pub fn repair_plan(&self, mut progress: impl FnMut(Progress)) -> Result<RepairPlan> {
        self.must_be_whole()?;
        let source = Source::look(&self.disk, &self.dir)?;
        let sizes = source.candidates.iter().map(|part| part.file.size);
        let bytes_total = sizes.sum();
        let found = survey(&source, &mut |bytes_done| {
            progress(Progress {
                bytes_done,
                bytes_total,
            });
        })?;
        Ok(RepairPlan {
            kept_until: Lsn::new(found.cut),
            frames: found.frames,
            records: found.records,
            frames_after: found.frames_after,
            records_after: found.records_after,
            lost: found.lost,
            holes: found.holes,
        })
    }
}
