//! How long a file is, may become, and still is.

use crate::error::errno;
use crate::interrupted::uninterrupted;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::fs::File;
use std::io;

/// The length of an open file in bytes.
pub(crate) fn length(file: &File) -> io::Result<u64> {
    Ok(uninterrupted(|| file.metadata())?.len())
}

/// Fails where the kernel would kill the process: for a write past `RLIMIT_FSIZE` it sends SIGXFSZ
/// first.
pub(crate) fn check_size_limit(end: u64) -> io::Result<()> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if end > limit => Err(errno(Errno::FBIG)),
        _ => Ok(()),
    }
}

/// Fails if `file` is shorter than the `mapped` bytes that a map shows.
///
/// Stores into the last page of a file that was cut short go nowhere, and the flush succeeds. A
/// direct write past its end makes a hole of what was cut.
///
/// The length comes from a seek to the end, which no read or write depends on. A `stat` would also
/// read the times. After that, Linux (6.13 and later) gives the next write a time of its own.
/// Without a journal ext4 then writes the inode with every commit (measured: 117 µs instead of 80).
pub(crate) fn check_still_whole(file: &File, mapped: usize) -> io::Result<()> {
    let len = uninterrupted(|| Ok(rustix::fs::seek(file, SeekFrom::End(0))?))?;
    if len < mapped as u64 {
        return Err(io::Error::other(cut_short(len, mapped)));
    }
    Ok(())
}

/// What happened to a mapped file that is shorter now.
pub(crate) fn cut_short(len: u64, mapped: usize) -> String {
    format!("the file was cut to {len} of its {mapped} bytes while it was mapped")
}
