//! How segment files are allocated and mapped on this disk.

use crate::facade::tracing;
use crate::faults::Faults;
use crate::format::frame::LogKey;
use crate::format::layout::{frame_size, segment_name};
use crate::lsn::Lsn;
use crate::options::choices::WritePath;
use highwater_disk::{AppendMap, Disk, DiskFile};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Zeros are written and synced in pieces, so that a commit that comes in between waits for one
/// piece at most.
pub(crate) const PIECE_SIZE: u64 = 1 << 20;

/// Makes segments, and opens them for appending.
#[derive(Debug, Clone)]
pub(crate) struct SegmentMaker {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) key: LogKey,
    pub(crate) write_path: WritePath,
    pub(crate) longest_write: u64,
    pub(crate) faults: Faults,
}

impl SegmentMaker {
    pub(crate) fn path(&self, base: u64) -> PathBuf {
        self.dir.join(segment_name(Lsn::new(base)))
    }

    /// From now on segments are written as the first one could be.
    pub(crate) fn keep_to(&mut self, writes: WritesVia) {
        self.write_path = match writes {
            WritesVia::PageCache => WritePath::PageCache,
            WritesVia::Direct => WritePath::Direct,
        };
    }

    /// How far after the end of the log a power cut can leave frames that were not acknowledged; 0
    /// if anywhere.
    ///
    /// With direct writes everything before a write is durable when it begins. So such frames lie
    /// in the one write that was under way. It ends at most this far after the frame in which it
    /// began.
    pub(crate) fn reach(&self, max_record: usize) -> u64 {
        let right = self.longest_write + frame_size(max_record as u64);
        match self.write_path {
            WritePath::Direct => self.faults.reach().unwrap_or(right),
            WritePath::Auto | WritePath::PageCache => 0,
        }
    }

    /// Gives `file` the size of a segment, with blocks that were really written. Nothing is left to
    /// allocate later.
    fn fill_zeros(&self, file: &dyn DiskFile, size: u64) -> io::Result<()> {
        let mut at = 0;
        while at < size {
            let end = size.min(at + PIECE_SIZE);
            self.write_zeros(file, at..end)?;
            if end < size {
                file.sync()?; // the last piece is synced with the header
            }
            at = end;
        }
        Ok(())
    }

    fn write_zeros(&self, file: &dyn DiskFile, range: Range<u64>) -> io::Result<()> {
        if self.write_path != WritePath::PageCache {
            match file.write_zeros_direct(range.clone()) {
                Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
                written => return written,
            }
        }
        file.write_zeros(range)
    }

    /// Gives `file` the size of a segment and its blocks, without writing them if that is enough: a
    /// direct write into such a block can fail, but not raise a signal.
    pub(crate) fn allocate(&self, file: &dyn DiskFile, size: u64) -> io::Result<Blocks> {
        if self.write_path == WritePath::Direct {
            match file.allocate(size) {
                Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
                allocated => return allocated.map(|()| Blocks::Allocated),
            }
        }
        self.fill_zeros(file, size).map(|()| Blocks::Written)
    }

    /// Maps `file` for appending after `start`, as the write path demands or the disk can.
    pub(crate) fn map(
        &self,
        file: &dyn DiskFile,
        start: u64,
    ) -> io::Result<(AppendMap, WritesVia)> {
        if self.write_path != WritePath::PageCache {
            match file.map_append_direct(start) {
                Err(e)
                    if e.kind() == io::ErrorKind::Unsupported
                        && self.write_path == WritePath::Auto =>
                {
                    tracing::debug!(path = %file.path().display(), "no direct I/O here: writing through the page cache");
                }
                staged => return Ok((staged?, WritesVia::Direct)),
            }
        }
        Ok((file.map_append(start)?, WritesVia::PageCache))
    }
}

/// How far the blocks of a new segment are prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocks {
    Allocated,
    Written,
}

/// Where appended frames are until they are synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WritesVia {
    /// In the page cache, through a shared map of the file.
    PageCache,
    /// In memory of this process.
    Direct,
}
