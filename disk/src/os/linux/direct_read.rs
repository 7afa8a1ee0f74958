//! Reading a page past the page cache. The cache reads in folios of many pages: if one sector of a
//! folio is bad, none of its pages can be read there. Past it only the page with the bad sector is
//! lost.
#![expect(clippy::disallowed_methods, reason = "this is the seam")]

use crate::interrupted::uninterrupted;
use memmap2::MmapMut;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

/// Reads at `offset` into `buf`, up to the end of a page, past the page cache. `cause` is the error
/// of reading through it.
///
/// # Errors
/// EIO if this page is the bad one; `cause` if the file cannot be read in this way.
#[cold]
pub(crate) fn read_around(
    file: &File,
    buf: &mut [u8],
    offset: u64,
    cause: io::Error,
) -> io::Result<usize> {
    if cause.raw_os_error() != Some(Errno::IO.raw_os_error()) {
        return Err(cause);
    }
    let size = rustix::param::page_size();
    let start = offset / size as u64 * size as u64;
    let Ok(mut page) = MmapMut::map_anon(size) else {
        return Err(cause);
    };
    // Its name may be that of another file by now.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let direct = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(path);
    let read = direct.and_then(|direct| uninterrupted(|| direct.read_at(&mut page, start)));
    let Ok(read) = read else {
        return Err(cause);
    };
    let skipped = usize::try_from(offset - start).unwrap_or(size);
    let there = page.get(skipped..read).unwrap_or_default();
    let len = there.len().min(buf.len());
    buf.split_at_mut(len)
        .0
        .copy_from_slice(there.split_at(len).0);
    Ok(len)
}
