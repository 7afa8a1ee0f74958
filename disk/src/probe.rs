//! Asking the machine what it does with data: which file system and device a directory lies on, how
//! many flushes the device got, what a commit costs. For tools that judge a disk; the log itself
//! only asks for the file system.
#![expect(clippy::disallowed_methods, reason = "this is the seam")]

use crate::error::errno;
use crate::os::interrupted::uninterrupted;
use crate::{Clock, FileSystem, PAGE_SIZE};
use memmap2::{Advice, MmapOptions};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FallocateFlags, fallocate, major, minor, statfs};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The place of the count of flushes in a device's `stat` (Linux 5.5 and later;
/// `Documentation/block/stat.rst`).
const FLUSHES_FIELD: usize = 15;
/// Devices upon devices; a real stack is three deep (partition, encryption, volume).
const MAX_STACK: usize = 16;

const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == PAGE_SIZE);

/// The file system of `dir`, by the number that `statfs` gives.
pub(crate) fn file_system(dir: &Path) -> io::Result<FileSystem> {
    let magic = uninterrupted(|| statfs(dir).map_err(errno))?.f_type;
    // The kernel's number has 32 bits; some C libraries hand it out with a sign.
    let magic = u64::try_from(magic).unwrap_or_default() & 0xFFFF_FFFF;
    Ok(FileSystem::from_magic(magic))
}

/// The block devices under a directory, down to the ones that hold the data.
#[derive(Debug, Clone)]
pub struct Device {
    /// Their directories in sysfs.
    leaves: Vec<PathBuf>,
}

/// Whether a device says that it keeps written data in a cache that a power cut empties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteCache {
    /// It does: a sync must flush it.
    Volatile,
    /// It does not: the kernel sends it no flushes.
    None,
    /// It does not say.
    Unstated,
}

impl Device {
    /// The devices that `dir` lies on; `None` if there is none that can be found (memory, network,
    /// several layers).
    ///
    /// # Errors
    /// Any I/O error of `dir` itself.
    pub fn of(dir: &Path) -> io::Result<Option<Self>> {
        let dir = dir.canonicalize()?;
        let mut number = fs::metadata(&dir)?.dev();
        if major(number) == 0 {
            // The file system made the number up. The table of mounts names the device.
            let named = mount_source(&dir).and_then(|source| fs::metadata(source).ok());
            match named.map(|metadata| metadata.rdev()) {
                Some(device) if major(device) != 0 => number = device,
                _ => return Ok(None),
            }
        }
        let link = format!("/sys/dev/block/{}:{}", major(number), minor(number));
        let mut leaves = Vec::new();
        if let Ok(top) = fs::canonicalize(link) {
            collect_leaves(&top, &mut leaves, 0);
        }
        leaves.sort();
        leaves.dedup();
        Ok((!leaves.is_empty()).then_some(Self { leaves }))
    }

    /// The names of the devices, as in `/dev`.
    #[must_use]
    pub fn name(&self) -> String {
        let names = self.leaves.iter().filter_map(|leaf| leaf.file_name());
        let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
        names.join(", ")
    }

    /// How many flushes the devices have done since they were started, for whomever; `None` if they
    /// do not tell.
    #[must_use]
    pub fn flushes(&self) -> Option<u64> {
        self.leaves.iter().try_fold(0_u64, |sum, leaf| {
            let stat = fs::read_to_string(leaf.join("stat")).ok()?;
            let count = stat.split_ascii_whitespace().nth(FLUSHES_FIELD)?;
            sum.checked_add(count.parse().ok()?)
        })
    }

    /// Whether one of them has a cache that must be flushed.
    #[must_use]
    pub fn write_cache(&self) -> WriteCache {
        let says = |leaf: &PathBuf| fs::read_to_string(leaf.join("queue/write_cache"));
        let mut answer = WriteCache::None;
        for leaf in &self.leaves {
            match says(leaf).as_deref().map(str::trim) {
                Ok("write back") => return WriteCache::Volatile,
                Ok("write through") => {}
                _ => answer = WriteCache::Unstated,
            }
        }
        answer
    }
}

/// Follows the layers under the device `node` (a directory of sysfs) down to whole devices.
fn collect_leaves(node: &Path, leaves: &mut Vec<PathBuf>, depth: usize) {
    let below = |name: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(node.join(name)).into_iter().flatten();
        entries
            .filter_map(|entry| entry.ok()?.path().canonicalize().ok())
            .collect()
    };
    let slaves = below("slaves");
    if !slaves.is_empty() && depth < MAX_STACK {
        for slave in slaves {
            collect_leaves(&slave, leaves, depth + 1);
        }
        return;
    }
    // Flushes are counted for the whole device, not for its partitions.
    let whole = match node.parent() {
        Some(parent) if node.join("partition").exists() => parent,
        _ => node,
    };
    leaves.push(whole.to_path_buf());
}

/// What the table of mounts says is mounted where `dir` lies, if that is a path.
fn mount_source(dir: &Path) -> Option<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mount_source_in(&table, dir)
}

fn mount_source_in(table: &str, dir: &Path) -> Option<PathBuf> {
    let mut best: Option<(usize, PathBuf)> = None;
    for line in table.lines() {
        // "id parent major:minor root mount-point options [optional] - type source options"
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let point = left.split(' ').nth(4).map(unescape);
        let source = right.split(' ').nth(1).map(unescape);
        let (Some(point), Some(source)) = (point, source) else {
            continue;
        };
        let length = point.as_os_str().len();
        // A later mount on the same point hides the earlier one.
        if dir.starts_with(&point) && best.as_ref().is_none_or(|(longest, _)| length >= *longest) {
            best = Some((length, source));
        }
    }
    best.map(|(_, source)| source)
        .filter(|source| source.is_absolute())
}

/// Blanks and backslashes stand as `\040` in the table of mounts.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match (byte, octal) {
            (b'\\', Some(code)) => {
                bytes.push(code);
                rest = tail.split_at(3).1;
            }
            _ => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// How the blocks of a file came to be before it is written.
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

/// How long it takes to write a page of a file in `dir` and to sync it, again and again, each time
/// the next page. The file has no name while it is measured, so nothing is left of it whatever
/// happens.
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
        Extents::Allocated => {
            fallocate(&file, FallocateFlags::empty(), 0, size.max(1)).map_err(|e| {
                let cause = errno(e);
                match e {
                    Errno::OPNOTSUPP => io::Error::new(io::ErrorKind::Unsupported, cause),
                    _ => cause,
                }
            })?;
        }
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
    let map = MmapOptions::new().len(PAGE).map_raw(&file)?;
    match map.advise(Advice::PopulateWrite) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(false),
        Err(e) => Err(e),
    }
}

/// A file without a name: it goes away with its handle, or with the process.
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

fn write_zeros(file: &File, size: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = 0;
    while at < size {
        let len = usize::try_from(size - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        file.write_all_at(ZEROS.split_at(len).0, at)?;
        at += len as u64;
    }
    Ok(())
}

/// A directory of a tool's own inside another one; it is removed, with the files in it, when this
/// is dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// Makes a directory in `parent` whose name is `prefix` and the number of this process.
    ///
    /// # Errors
    /// Any I/O error; [`io::ErrorKind::AlreadyExists`] if one of that name was left by a process
    /// that was killed.
    pub fn create(parent: &Path, prefix: &str) -> io::Result<Self> {
        let dir = parent.join(format!("{prefix}-{}", std::process::id()));
        fs::create_dir(&dir)?;
        Ok(Self { dir })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Files only: what this crate's users put there. A directory that somebody else put into it
        // stays, and so does this one then.
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
        let _ = fs::remove_dir(&self.dir);
    }
}

/// True if whoever was to read from `output` (a pipe, a socket) has gone away, so that waiting for
/// more to write is in vain.
pub fn reader_is_gone(output: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(output, PollFlags::empty())];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let gone = PollFlags::ERR | PollFlags::HUP;
    let ready = poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0);
    ready && fds.iter().any(|fd| fd.revents().intersects(gone))
}

#[cfg(test)]
#[cfg_attr(miri, allow(unused, reason = "Miri has no such system calls"))]
mod tests {
    use super::*;
    use crate::OsClock;

    const TABLE: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:40 / /data\\040of\\040mine rw shared:1 - btrfs /dev/sdb1 rw
31 27 0:41 / /data rw - overlay overlay rw
32 27 0:42 / /twice rw - btrfs /dev/first rw
33 27 0:43 / /twice rw - btrfs /dev/second rw
nonsense";

    #[test]
    fn the_mount_that_lies_nearest_counts() {
        let source = |dir: &str| mount_source_in(TABLE, Path::new(dir));
        assert_eq!(source("/var/x"), Some("/dev/vda".into()));
        assert_eq!(source("/data of mine/log"), Some("/dev/sdb1".into()));
        assert_eq!(source("/data/log"), None, "an overlay names no device");
        assert_eq!(source("/database"), Some("/dev/vda".into()));
        assert_eq!(source("/twice/x"), Some("/dev/second".into()));
    }

    #[test]
    fn a_stack_of_devices_is_followed_to_the_whole_devices() {
        let tmp = tempfile::tempdir().unwrap();
        let (disk, dm) = (tmp.path().join("sda"), tmp.path().join("dm-0"));
        for dir in [disk.join("sda1"), disk.join("queue"), dm.join("slaves")] {
            fs::create_dir_all(dir).unwrap();
        }
        fs::write(disk.join("sda1/partition"), "1").unwrap();
        fs::write(
            disk.join("stat"),
            "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n",
        )
        .unwrap();
        fs::write(disk.join("queue/write_cache"), "write back\n").unwrap();
        std::os::unix::fs::symlink(disk.join("sda1"), dm.join("slaves/sda1")).unwrap();
        let mut leaves = Vec::new();
        collect_leaves(&dm, &mut leaves, 0);
        let device = Device { leaves };
        assert_eq!(
            (device.name().as_str(), device.flushes()),
            ("sda", Some(16))
        );
        assert_eq!(device.write_cache(), WriteCache::Volatile);
        fs::write(disk.join("queue/write_cache"), "write through\n").unwrap();
        assert_eq!(device.write_cache(), WriteCache::None);
        fs::write(disk.join("stat"), "1 2 3\n").unwrap();
        assert_eq!(device.flushes(), None, "an old kernel counts no flushes");
    }

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
        {
            let scratch = Scratch::create(tmp.path(), "scratch").unwrap();
            fs::write(scratch.path().join("file"), "x").unwrap();
            assert!(Scratch::create(tmp.path(), "scratch").is_err());
        }
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no such system calls")]
    fn a_reader_that_went_away_is_noticed() {
        let (reader, writer) = io::pipe().unwrap();
        assert!(!reader_is_gone(&writer));
        drop(reader);
        assert!(reader_is_gone(&writer));
    }
}
