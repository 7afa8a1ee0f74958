//! The block devices under a directory, and how many flushes they got.
#![expect(clippy::disallowed_methods, reason = "this is the seam")]

use crate::os::write_cache::WriteCache;
use rustix::fs::{major, minor};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The position of the count of flushes in a device's `stat` (Linux 5.5 and later;
/// `Documentation/block/stat.rst`).
const FLUSHES_FIELD: usize = 15;
/// Devices upon devices; a real stack is three deep (partition, encryption, volume).
const MAX_STACK: usize = 16;

/// The block devices under a directory, down to the ones that hold the data.
#[derive(Debug, Clone)]
pub struct Device {
    /// Their directories in sysfs.
    leaves: Vec<PathBuf>,
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

    /// How many flushes the devices have done since they were started, for all programs; `None` if
    /// they do not count them.
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

/// The source that is mounted where `dir` lies, by the table of mounts, if that is a path.
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

/// The table of mounts has blanks and backslashes in the form `\040`.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
