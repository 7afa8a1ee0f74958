//! Making bytes and names durable. Never made again after a signal: a sync that failed must not be
//! tried again.

use std::fs::File;
use std::io;

/// Makes content, length and, of a directory, names durable.
///
/// `fsync` of Apple's systems leaves the bytes in the cache of the device. `F_FULLFSYNC` empties
/// that; where the file system does not know it, that is an error.
pub(crate) fn flush(file: &File) -> io::Result<()> {
    #[cfg(target_vendor = "apple")]
    return Ok(rustix::fs::fcntl_fullfsync(file)?);
    #[cfg(not(target_vendor = "apple"))]
    return Ok(rustix::fs::fsync(file)?);
}
