//! What strace sees: which call makes an append durable, and how many of them there are per append.

use crate::engines::Engine;
use crate::record::{blank, stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const CALLS: &str =
    "trace=openat,fsync,fdatasync,msync,sync_file_range,write,pwrite64,pwritev2,io_uring_enter";
/// Two runs that differ by this many appends: what opening and closing do cancels out.
const FEW: u64 = 50;
const MANY: u64 = 250;

/// Calls per durable append of one thread that is alone.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Seen {
    pub calls: BTreeMap<String, f64>,
}

impl Seen {
    /// Whether every append was followed by a call that reaches the disk.
    pub fn syncs_each(&self) -> bool {
        let syncs = self.calls.iter().filter(|(call, _)| is_durable(call));
        syncs.map(|(_, per_append)| per_append).sum::<f64>() >= 0.98
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.calls.is_empty() {
            return f.write_str("none");
        }
        for (index, (call, per_append)) in self.calls.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{per_append:.2} {call}")?;
        }
        Ok(())
    }
}

/// `sync_file_range` neither commits metadata nor flushes the device's cache.
fn is_durable(call: &str) -> bool {
    call != "sync_file_range"
}

/// Whether strace is there.
pub fn available() -> bool {
    let version = Command::new("strace").arg("-V").output();
    version.is_ok_and(|output| output.status.success())
}

/// Counts the calls of `engine`, in directories below `dir`.
///
/// # Errors
/// The output of strace or of the traced process.
pub fn watch(engine: &dyn Engine, dir: &Path, size: usize) -> Result<Seen, String> {
    let few = count(engine, dir, size, FEW)?;
    let mut calls = count(engine, dir, size, MANY)?;
    for (call, count) in &mut calls {
        *count = count.saturating_sub(few.get(call).copied().unwrap_or(0));
    }
    let per_append = |count: u64| count as f64 / (MANY - FEW) as f64;
    Ok(Seen {
        calls: calls
            .into_iter()
            .map(|(call, count)| (call, per_append(count)))
            // What a background thread happened to do once is not part of an append.
            .filter(|(_, per_append)| *per_append >= 0.1)
            .collect(),
    })
}

fn count(
    engine: &dyn Engine,
    dir: &Path,
    size: usize,
    appends: u64,
) -> Result<BTreeMap<String, u64>, String> {
    let store = tempfile::tempdir_in(dir).map_err(|e| e.to_string())?;
    let log = tempfile::NamedTempFile::new_in(dir).map_err(|e| e.to_string())?;
    let output = Command::new("strace")
        .args(["-f", "-qq", "-y", "-e", CALLS, "-o"])
        .arg(log.path())
        .arg(std::env::current_exe().map_err(|e| e.to_string())?)
        .args(["probe", "--engine", engine.name(), "--dir"])
        .arg(store.path())
        .args(["--size", &size.to_string(), "--count", &appends.to_string()])
        .output()
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let trace = std::fs::read_to_string(log.path()).map_err(|e| e.to_string())?;
    Ok(durable_calls(&trace))
}

/// The traced process: one thread, `count` durable appends.
pub fn probe(engine: &dyn Engine, dir: &Path, size: usize, count: u64) {
    let store = engine.open(dir, crate::engines::Purpose::Append);
    let mut appender = store.appender(0);
    let mut record = blank(size);
    for index in 1..=count {
        stamp(&mut record, index, 0);
        appender.append_durable(&record);
    }
}

/// Counts the calls that make something durable, or pretend to, in the output of `strace -f -y`.
fn durable_calls(trace: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut dsync_files = BTreeSet::new();
    for line in trace.lines() {
        // The process id, then the call; the second half of an interrupted call is not a call.
        let call = line
            .split_once(' ')
            .map_or(line, |(_, call)| call)
            .trim_start();
        if call.starts_with("<...") {
            continue;
        }
        let Some((name, arguments)) = call.split_once('(') else {
            continue;
        };
        let opened_dsync = arguments.contains("O_DSYNC") || arguments.contains("O_SYNC");
        let file = arguments.split(['<', '>']).nth(1).unwrap_or_default();
        let what = match name {
            "openat" if opened_dsync => {
                dsync_files.extend(arguments.split('"').nth(1).map(str::to_owned));
                continue;
            }
            "fsync" | "fdatasync" | "sync_file_range" => name.to_owned(),
            "msync" if arguments.contains("MS_SYNC") => "msync(MS_SYNC)".to_owned(),
            "write" | "pwrite64" | "pwritev2" if dsync_files.contains(file) => {
                format!("{name} to an O_DSYNC file")
            }
            "pwritev2" if arguments.contains("RWF_DSYNC") || arguments.contains("RWF_SYNC") => {
                "pwritev2(RWF_DSYNC)".to_owned()
            }
            _ => continue,
        };
        *counts.entry(what).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_reach_the_disk_count_as_durable() {
        let trace = r#"7 openat(AT_FDCWD</x>, "/x/ring", O_WRONLY|O_DSYNC|O_DIRECT|O_CLOEXEC) = 5</x/ring>
7 openat(AT_FDCWD</x>, "/x/log", O_RDWR|O_CLOEXEC) = 6</x/log>
7 pwrite64(5</x/ring>, "..."..., 512, 0) = 512
8 pwrite64(6</x/log>, "..."..., 512, 0) = 512
8 fdatasync(6</x/log> <unfinished ...>
8 <... fdatasync resumed>) = 0
8 msync(0x7f, 4096, MS_SYNC) = 0
8 msync(0x7f, 4096, MS_ASYNC) = 0
8 pwritev2(6</x/log>, [{iov_base="..."}], 1, 0, RWF_DSYNC) = 9
8 sync_file_range(6</x/log>, 0, 9, SYNC_FILE_RANGE_WRITE) = 0
"#;
        let calls = durable_calls(trace);
        let expected = [
            ("fdatasync", 1),
            ("msync(MS_SYNC)", 1),
            ("pwrite64 to an O_DSYNC file", 1),
            ("pwritev2(RWF_DSYNC)", 1),
            ("sync_file_range", 1),
        ];
        let expected = expected.map(|(call, count)| (call.to_owned(), count));
        assert_eq!(calls, BTreeMap::from(expected));
        let pretends = Seen {
            calls: BTreeMap::from([("sync_file_range".to_owned(), 1.0)]),
        };
        assert!(!pretends.syncs_each());
    }
}
