//! All numbers of an open log, collected from its parts.

use crate::log::shared::Shared;
use crate::lsn::Lsn;
use crate::metrics::stats::Stats;
use crate::options::choices::WritePath;
use crate::segment::maker::WritesVia;

impl Shared {
    pub(crate) fn stats(&self) -> Stats {
        let (counters, budget) = (&self.counters, &self.budget);
        let (frames, records) = counters.frames_and_records();
        let end_lsn = Lsn::new(self.segments.end());
        let (batches_compressed, bytes_saved) = self.compressor.counts();
        Stats {
            records,
            frames,
            groups: counters.groups(),
            bytes_appended: end_lsn.bytes_since(self.recovery.end_lsn),
            bytes_truncated: counters.bytes_truncated(),
            batches_compressed,
            bytes_saved,
            segments: self.segments.len(),
            segments_ready: self.maintenance.segments_ready(),
            first_lsn: Lsn::new(self.retention.first()),
            durable_lsn: Lsn::new(self.commit.durable()),
            end_lsn,
            disk_bytes: budget.used(),
            max_bytes: budget.max_bytes(),
            write_path: match self.segments.tail().writes_via() {
                WritesVia::PageCache => WritePath::PageCache,
                WritesVia::Direct => WritePath::Direct,
            },
            sync: counters.sync.summary(),
            prepare: counters.prepare.summary(),
            recycle: counters.recycle.summary(),
        }
    }
}
