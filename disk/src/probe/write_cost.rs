//! What bare durable writes cost in a directory: the bound of what a log can do there.
#![expect(clippy::disallowed_methods, reason = "this is the seam")]

use crate::clock::Clock;
use crate::os::native::direct_io::open_synced;
use crate::probe::commit_cost::{Effort, write_zeros};
use crate::units::{PAGE, PAGE_SIZE};
use memmap2::MmapMut;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The file is as long as some writes, and at least so long. At its end writing begins again.
const FILE_SIZE: u64 = 16 << 20;

/// How bare bytes are made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareWrite {
    /// Written through the page cache, then `fdatasync`.
    Synced,
    /// Whole pages past the page cache (`O_DIRECT`), each write a sync as well (`O_DSYNC`).
    Direct,
}

/// Writes `bytes` after `bytes` into a file in `dir` whose blocks were written before, and makes
/// each durable. Returns how many writes there were in which time: the times of the single ones
/// sum up to that.
///
/// # Errors
/// Any I/O error; [`io::ErrorKind::Unsupported`] if pages cannot be written past the page cache
/// there; [`io::ErrorKind::InvalidInput`] if `bytes` is 0.
pub fn write_cost(
    dir: &Path,
    how: BareWrite,
    bytes: usize,
    effort: Effort,
    clock: &dyn Clock,
) -> io::Result<Vec<std::time::Duration>> {
    if bytes == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let len = bytes as u64;
    let size = (2 * len).next_multiple_of(PAGE_SIZE).max(FILE_SIZE);
    let file = prepared(dir, how, size)?;
    // Of a map, so that it begins at the border of a page.
    let buffer = MmapMut::map_anon((bytes + PAGE).next_multiple_of(PAGE))?;
    let begin = clock.now();
    let (mut at, mut times) = (0, Vec::new());
    while times.len() < usize::try_from(effort.count).unwrap_or(usize::MAX) {
        let start = clock.now();
        if start.saturating_sub(begin) > effort.time {
            break;
        }
        if at + len > size {
            at = 0;
        }
        match how {
            BareWrite::Synced => {
                file.write_all_at(buffer.split_at(bytes).0, at)?;
                file.sync_data()?;
            }
            BareWrite::Direct => {
                let pages = at / PAGE_SIZE * PAGE_SIZE..(at + len).next_multiple_of(PAGE_SIZE);
                let whole = usize::try_from(pages.end - pages.start).unwrap_or(bytes);
                file.write_all_at(buffer.split_at(whole).0, pages.start)?;
            }
        }
        at += len;
        times.push(clock.now().saturating_sub(start));
    }
    Ok(times)
}

/// A file of zeros that has no name any more.
fn prepared(dir: &Path, how: BareWrite, size: u64) -> io::Result<File> {
    let path = dir.join(format!(".highwater-probe-{}", std::process::id()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    let opened = write_zeros(&file, size)
        .and_then(|()| file.sync_all())
        .and_then(|()| match how {
            BareWrite::Synced => Ok(file),
            BareWrite::Direct => open_synced(&path),
        });
    fs::remove_file(&path)?;
    opened
}

#[cfg(test)]
#[cfg_attr(miri, allow(unused, reason = "Miri has no such system calls"))]
mod tests {
    use super::*;
    use crate::clock::OsClock;
    use std::time::Duration;

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no such system calls")]
    fn bare_writes_are_counted_and_leave_nothing_behind() {
        let tmp = tempfile::tempdir().unwrap();
        let effort = Effort {
            count: 5,
            time: Duration::from_secs(60),
        };
        let clock = OsClock::new();
        for bytes in [1, 1000, PAGE, PAGE + 1, 9 << 20] {
            for how in [BareWrite::Synced, BareWrite::Direct] {
                match write_cost(tmp.path(), how, bytes, effort, &clock) {
                    Ok(times) => assert_eq!(times.len(), 5),
                    Err(e) => assert_eq!(
                        (how, e.kind()),
                        (BareWrite::Direct, io::ErrorKind::Unsupported)
                    ),
                }
            }
        }
        let nothing = write_cost(tmp.path(), BareWrite::Synced, 0, effort, &clock);
        assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    }
}
