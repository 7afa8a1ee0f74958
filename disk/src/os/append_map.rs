//! What the append maps of real files have in common.

use crate::error::{errno, invalid};
use crate::map::append::AppendMap;
use crate::os::size::length;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Marks a handle as mapped until dropped: two append maps would hand out the same bytes.
#[derive(Debug)]
pub(crate) struct OnlyMap(Arc<AtomicBool>);

impl OnlyMap {
    pub(crate) fn take(mapped: &Arc<AtomicBool>) -> io::Result<Self> {
        if mapped.swap(true, Ordering::AcqRel) {
            return Err(errno(Errno::BUSY));
        }
        Ok(Self(Arc::clone(mapped)))
    }
}

impl Drop for OnlyMap {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Length of `file` as a size, if it can be mapped for appending from `start` on.
pub(crate) fn shape(file: &File, start: u64) -> io::Result<(u64, usize)> {
    let len = length(file)?;
    AppendMap::check_shape(start, len)?;
    let size = usize::try_from(len).map_err(|_| errno(Errno::FBIG))?;
    Ok((len, size))
}

/// `range` as offsets in a map of `size_bytes` bytes.
pub(crate) fn span(range: &Range<u64>, size_bytes: usize) -> io::Result<Range<usize>> {
    let start = usize::try_from(range.start).map_err(|_| errno(Errno::INVAL))?;
    let end = usize::try_from(range.end).map_err(|_| errno(Errno::INVAL))?;
    if start > end || end > size_bytes {
        return Err(invalid("the range to sync lies outside the map"));
    }
    Ok(start..end)
}
