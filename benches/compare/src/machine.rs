//! The machine: what it is, and how many flushes its disk has done.

use serde::Serialize;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// File systems where a sync reaches no disk.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];
/// Where `/proc/diskstats` keeps the flushes that a device has completed, counted from 0.
const FLUSHES: usize = 18;

/// Facts that stand before every figure.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_mib: u64,
    pub kernel: String,
    pub file_system: String,
    pub device: String,
    pub write_cache: String,
    pub fua: bool,
    pub load: String,
    pub data: PathBuf,
    /// Why flushes cannot be counted here, if so.
    pub flushes_unknown: Option<String>,
    #[serde(skip)]
    disk: Option<String>,
}

impl Machine {
    /// The machine that holds `dir`.
    ///
    /// # Errors
    /// If `dir` is not on a disk.
    pub fn of(dir: &Path) -> Result<Self, String> {
        let number = fs::metadata(dir).map_err(|e| e.to_string())?.dev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        let mount = Mount::of(dir, &format!("{major}:{minor}"))?;
        if IN_MEMORY.contains(&mount.kind.as_str()) {
            return Err(format!(
                "{} is on {}, where a sync reaches no disk: every figure would be a lie. Name a directory on a real disk with --dir",
                dir.display(),
                mount.kind
            ));
        }
        let disk = disk_of(&mount.device);
        let queue = |name: &str| {
            disk.as_ref()
                .and_then(|disk| fs::read_to_string(format!("/sys/block/{disk}/queue/{name}")).ok())
                .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
        };
        let (write_cache, fua) = (queue("write_cache"), queue("fua") == "1");
        let flushes_unknown = match &disk {
            None => Some(format!("{} is no block device of its own", mount.source)),
            Some(_) if write_cache == "write through" => {
                Some("the device has no volatile cache, so the kernel sends no flushes".to_owned())
            }
            Some(disk) if flushes_of(disk).is_none() => {
                Some("the kernel does not count them".to_owned())
            }
            Some(_) => None,
        };
        Ok(Self {
            cpu: first_field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: first_field("/proc/meminfo", "MemTotal")
                .trim_end_matches(" kB")
                .parse::<u64>()
                .unwrap_or(0)
                / 1024,
            kernel: read("/proc/sys/kernel/osrelease"),
            file_system: format!("{} ({})", mount.kind, mount.options),
            device: mount.source,
            write_cache,
            fua,
            load: read("/proc/loadavg"),
            data: dir.to_owned(),
            flushes_unknown,
            disk,
        })
    }

    /// A machine for tests of what is made of figures.
    #[cfg(test)]
    pub fn imagined() -> Self {
        Self {
            cpu: String::new(),
            cores: 1,
            memory_mib: 1,
            kernel: String::new(),
            file_system: String::new(),
            device: String::new(),
            write_cache: "write back".to_owned(),
            fua: false,
            load: String::new(),
            data: PathBuf::new(),
            flushes_unknown: None,
            disk: None,
        }
    }

    /// Flushes that the disk has completed since boot, for all programs; `None` if they are not
    /// counted.
    pub fn flushes(&self) -> Option<u64> {
        if self.flushes_unknown.is_some() {
            return None;
        }
        flushes_of(self.disk.as_deref()?)
    }

    /// As markdown.
    pub fn print(&self) {
        println!("- cpu: {} x {}", self.cores, self.cpu);
        println!("- memory: {} MiB", self.memory_mib);
        println!("- kernel: {}", self.kernel);
        println!("- file system: {}", self.file_system);
        println!(
            "- device: {}, {} cache, {}",
            self.device,
            self.write_cache,
            if self.fua { "FUA" } else { "no FUA" }
        );
        println!("- load average: {}", self.load);
        if let Some(why) = &self.flushes_unknown {
            println!("- flushes: NOT COUNTED, {why}; this run has no ranking");
        } else if self.fua {
            println!(
                "- flushes: direct writes may use FUA instead of a flush on this device and then count as none"
            );
        }
    }
}

/// One line of `/proc/self/mountinfo`.
struct Mount {
    kind: String,
    options: String,
    source: String,
    /// `major:minor`; of the source where the file system has no device number of its own.
    device: String,
}

impl Mount {
    /// The mount of the device that holds `dir`, the longest path to it if there are several.
    fn of(dir: &Path, device: &str) -> Result<Self, String> {
        let dir = dir.canonicalize().map_err(|e| e.to_string())?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|e| e.to_string())?;
        mounts
            .lines()
            .filter_map(|line| {
                let (before, after) = line.split_once(" - ")?;
                let before: Vec<&str> = before.split(' ').collect();
                let after: Vec<&str> = after.split(' ').collect();
                let point = *before.get(4)?;
                let matches = *before.get(2)? == device && dir.starts_with(point);
                let mount = Self {
                    kind: (*after.first()?).to_owned(),
                    options: (*before.get(5)?).to_owned(),
                    source: (*after.get(1)?).to_owned(),
                    device: device.to_owned(),
                };
                matches.then_some((point.len(), mount))
            })
            .max_by_key(|(len, _)| *len)
            .map(|(_, mount)| mount.with_device_of_source())
            .ok_or_else(|| format!("no mount found for {}", dir.display()))
    }

    /// File systems such as btrfs have a device number of their own making: the source tells the
    /// disk.
    fn with_device_of_source(mut self) -> Self {
        if self.device.starts_with("0:")
            && let Ok(source) = fs::metadata(&self.source)
        {
            let number = source.rdev();
            self.device = format!(
                "{}:{}",
                rustix::fs::major(number),
                rustix::fs::minor(number)
            );
        }
        self
    }
}

/// The whole disk of a block device: the kernel counts flushes there, not on the partition.
fn disk_of(device: &str) -> Option<String> {
    let mut path = fs::canonicalize(format!("/sys/dev/block/{device}")).ok()?;
    if path.join("partition").exists() {
        path.pop();
    }
    Some(path.file_name()?.to_str()?.to_owned())
}

fn flushes_of(disk: &str) -> Option<u64> {
    let stats = fs::read_to_string("/proc/diskstats").ok()?;
    let line = stats
        .lines()
        .find(|line| line.split_whitespace().nth(2) == Some(disk))?;
    line.split_whitespace().nth(FLUSHES)?.parse().ok()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn first_field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']))
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_in_memory_is_refused() {
        let error = Machine::of(Path::new("/dev/shm")).expect_err("no disk");
        assert!(error.contains("tmpfs"), "{error}");
    }
}
