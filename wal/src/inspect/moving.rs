//! A log that another process truncates meanwhile: what was listed a moment ago may be gone, or
//! made into another segment under the old name.

use crate::control::file::ControlFile;
use crate::error::WalError;
use crate::lsn::Lsn;
use highwater_disk::Disk;
use std::path::Path;

/// How often a log that changes meanwhile is looked at again before that is an error.
pub(crate) const MAX_LOOKS: u32 = 64;

/// Where the log in `dir` starts now, if that is after `position`. What is wrong with `LOG` is
/// reported elsewhere.
pub(crate) fn start_after(disk: &dyn Disk, dir: &Path, position: u64) -> Option<u64> {
    let meta = ControlFile::read(disk, dir).ok().flatten()?;
    (meta.first_lsn > position).then_some(meta.first_lsn)
}

/// What `error` at `position` is if the log starts after it now, and where to go on.
pub(crate) fn truncated_meanwhile(
    disk: &dyn Disk,
    dir: &Path,
    position: u64,
    error: &WalError,
) -> Option<(WalError, u64)> {
    if !matches!(error, WalError::Io { .. } | WalError::Corrupt { .. }) {
        return None;
    }
    let first = start_after(disk, dir, position)?;
    let error = WalError::Truncated {
        asked: Lsn::new(position),
        first: Lsn::new(first),
    };
    Some((error, first))
}
