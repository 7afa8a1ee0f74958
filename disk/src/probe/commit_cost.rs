//! What a commit costs in a directory, and whether its files can be populated.
#![expect(clippy::disallowed_methods, reason = "this is the seam")]

use crate::clock::Clock;
use crate::os::native::{file::allocate, populate};
use crate::units::{PAGE, PAGE_SIZE};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// What was done to the blocks of a file before it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extents {
    /// Written with zeros, as the log does: a later write changes nothing but data.
    Written,
    /// Only allocated: the first write to each block changes the file system's own records too.
    Allocated,
}

/// How often a measurement is repeated, and for how long at most.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Repetitions.
    pub count: u32,
    /// No repetition begins after this time.
    pub time: Duration,
}

/// Measures how long it takes to write one page of a file in `dir` and to sync it, page after page.
/// The file has no name, so nothing of it is ever left.
///
/// # Errors
/// Any I/O error; [`io::ErrorKind::Unsupported`] if the file system cannot allocate without
/// writing.
pub fn commit_cost(
    dir: &Path,
    extents: Extents,
    effort: Effort,
    clock: &dyn Clock,
) -> io::Result<Vec<Duration>> {
    let size = u64::from(effort.count) * PAGE_SIZE;
    let file = nameless(dir)?;
    match extents {
        Extents::Written => write_zeros(&file, size)?,
        Extents::Allocated => allocate(&file, size.max(1))?,
    }
    file.sync_all()?;
    let page = [0xA5; PAGE];
    let begin = clock.now();
    let mut times = Vec::new();
    for number in 0..u64::from(effort.count) {
        let start = clock.now();
        if start.saturating_sub(begin) > effort.time {
            break;
        }
        file.write_all_at(&page, number * PAGE_SIZE)?;
        file.sync_data()?;
        times.push(clock.now().saturating_sub(start));
    }
    Ok(times)
}

/// Whether mapped pages of a file in `dir` can be faulted in for writing in advance
/// (`MADV_POPULATE_WRITE`).
///
/// # Errors
/// Any I/O error.
pub fn can_populate(dir: &Path) -> io::Result<bool> {
    let file = nameless(dir)?;
    write_zeros(&file, PAGE_SIZE)?;
    populate::can_populate(&file)
}

/// A file without a name: it is gone with its handle, or with the process.
fn nameless(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!(".highwater-probe-{}", std::process::id()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

pub(super) fn write_zeros(file: &File, size: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = 0;
    while at < size {
        let len = usize::try_from(size - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        file.write_all_at(ZEROS.split_at(len).0, at)?;
        at += len as u64;
    }
    Ok(())
}

#[cfg(test)]
#[cfg_attr(miri, allow(unused, reason = "Miri has no such system calls"))]
mod tests {
    use super::*;
    use crate::clock::OsClock;

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no such system calls")]
    fn measuring_leaves_nothing_behind() {
        let tmp = tempfile::tempdir().unwrap();
        let effort = Effort {
            count: 3,
            time: Duration::from_secs(60),
        };
        let clock = OsClock::new();
        for extents in [Extents::Written, Extents::Allocated] {
            match commit_cost(tmp.path(), extents, effort, &clock) {
                Ok(times) => assert_eq!(times.len(), 3),
                Err(e) => assert_eq!(
                    (extents, e.kind()),
                    (Extents::Allocated, io::ErrorKind::Unsupported)
                ),
            }
        }
        let none = Effort { count: 0, ..effort };
        assert!(
            commit_cost(tmp.path(), Extents::Written, none, &clock)
                .unwrap()
                .is_empty()
        );
        can_populate(tmp.path()).unwrap();
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    }
}
