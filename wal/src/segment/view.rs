//! Reading a segment: in its map, the pages read in before they are touched, or copied out of its
//! file.

use crate::error::{Finding, Result, WalError};
use crate::format::layout::to_usize;
use crate::segment::file::{Segment, View};
use crate::segment::header::{FoundFile, SegmentFile, read_error};
use highwater_disk::{Access, DiskError, DiskFile};
use std::io;
use std::ops::Range;
use std::sync::Arc;

impl Segment {
    /// What its file says.
    pub(crate) fn as_file(&self) -> SegmentFile {
        SegmentFile {
            path: self.path.clone(),
            base: self.base,
            size: self.size,
        }
    }

    /// Has the pages of `range` (offsets) read in, so that touching them soon raises no signal.
    /// Maps the segment if it is not mapped yet.
    pub(crate) fn populate(&self, range: Range<u64>) -> Result<()> {
        let populated = match self.view()? {
            View::Append { map, .. } => map.populate(range.clone()),
            View::Read(map) => map.populate(range.clone()),
        };
        populated.map_err(|e| self.unreadable(&range, e))
    }

    /// The bytes of the file in `range`, `None` if they are not all written yet, or not mapped.
    /// Touch only what [`Self::populate`] was asked for.
    pub(crate) fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        match self.view.get()? {
            View::Append { map, .. } => map.read(range),
            View::Read(map) => map.bytes().get(to_usize(range.start)..to_usize(range.end)),
        }
    }

    /// As [`Self::bytes`] for bytes that were read before.
    pub(crate) fn shown(&self, range: Range<usize>) -> &[u8] {
        self.bytes(range.start as u64..range.end as u64)
            .expect("what was read once stays mapped and complete")
    }

    /// Fills `buffer` with the bytes from `start` (an offset) on, which are durable, without
    /// touching a map. `file` is the segment's, once it was needed.
    pub(crate) fn copy(
        &self,
        start: u64,
        buffer: &mut [u8],
        file: &mut Option<Arc<dyn DiskFile>>,
    ) -> Result<()> {
        if let Some(View::Append { map, .. }) = self.view.get()
            && map.copy_from_memory(start, buffer)
        {
            return Ok(());
        }
        let file = match file {
            Some(file) => file,
            None => file.insert(self.open_checked()?),
        };
        let range = start..start + buffer.len() as u64;
        file.read_exact_at(buffer, start)
            .map_err(|e| self.unreadable(&range, e))
    }

    fn view(&self) -> Result<&View> {
        if let Some(view) = self.view.get() {
            return Ok(view);
        }
        let map = self.open_checked()?.map_read();
        let map = map.map_err(|e| WalError::io("mapping", &self.path, e))?;
        Ok(self.view.get_or_init(|| View::Read(map)))
    }

    /// The file, its header and length checked: a map that is longer than its file would die of
    /// SIGBUS.
    fn open_checked(&self) -> Result<Arc<dyn DiskFile>> {
        let failed = |op: &'static str| move |e| WalError::io(op, &self.path, e);
        let file = self.disk.open(&self.path, Access::Read);
        let file = file.map_err(failed("opening"))?;
        let size = FoundFile::read(&*file, &self.path, self.base)?
            .check(self.log_id)?
            .size;
        if size != self.size {
            let what = format!("the header says {size} bytes instead of {}", self.size);
            return Err(self.corrupt(Finding::SwappedSegment, 0, what));
        }
        Ok(file)
    }

    /// The error of bytes that cannot be read: the file was cut short of them, or the disk failed.
    fn unreadable(&self, range: &Range<u64>, error: io::Error) -> WalError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            let end = DiskError::of(&error).and_then(DiskError::offset);
            return self.cut_short(end.unwrap_or(range.start));
        }
        // It was mapped under another name, perhaps.
        let error = DiskError::about(error, &self.path);
        read_error(&self.path, range.start, range.end - range.start, error)
    }

    fn cut_short(&self, len: u64) -> WalError {
        let what = format!(
            "{len} bytes instead of {}: the file was cut while the log was open; restore the file",
            self.size
        );
        self.corrupt(Finding::ShortSegment, len, what)
    }

    /// Whether the file was cut short: that explains a place without a frame.
    pub(crate) fn shortness(&self) -> Option<WalError> {
        let file = self.disk.open(&self.path, Access::Read).ok()?;
        let len = file.len().ok().filter(|len| *len < self.size)?;
        Some(self.cut_short(len))
    }
}
