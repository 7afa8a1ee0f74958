//! Renaming a file without ever replacing another.

use highwater_engine::wal::disk::{Access, Disk};
use std::io;
use std::path::Path;

/// How much of two files is compared at a time.
const PIECE_BYTES: usize = 64 << 10;

/// Moves `from` to `to` within `dir` unless `to` is taken. The new name is not durable before the
/// directory is synced.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if it is taken, whatever it is.
pub(super) fn rename_new(disk: &dyn Disk, dir: &Path, from: &Path, to: &Path) -> io::Result<()> {
    match disk.rename_new(from, to) {
        Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
        placed => return placed,
    }
    disk.hard_link(from, to)?;
    // The old name may be removed only after the new one is durable: names reach the disk in any
    // order.
    disk.sync_dir(dir)?;
    disk.remove_file(from)
}

/// Whether two files hold the same bytes.
pub(super) fn same_content(disk: &dyn Disk, one: &Path, other: &Path) -> io::Result<bool> {
    let one = disk.open(one, Access::Read)?;
    let other = disk.open(other, Access::Read)?;
    let len = one.len()?;
    if other.len()? != len {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let mut at = 0;
    while at < len {
        let count = usize::try_from(len - at).map_or(PIECE_BYTES, |rest| rest.min(PIECE_BYTES));
        let (left, right) = (left.split_at_mut(count).0, right.split_at_mut(count).0);
        one.read_exact_at(left, at)?;
        other.read_exact_at(right, at)?;
        if left != right {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}
