//! `highwater-log selftest`: whether a file system and the device under it keep what a log needs.

use crate::args::LogArgs;
use crate::outcome::{Failure, Outcome, Result};
use crate::output::{Output, render, table};
use crate::text;
use highwater_disk::probe::{self, Device, Effort, Extents, Scratch, WriteCache};
use highwater_disk::{Disk, FileSystem, OsClock, OsDisk, Reserver, Suitability};
use highwater_wal::inspect::Histogram;
use serde::Serialize;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Syncs per measurement: enough for a 99th percentile.
const EFFORT: Effort = Effort {
    count: 200,
    time: Duration::from_secs(3),
};
/// No device confirms a flush faster: what does has not asked it.
const FASTEST_FLUSH: Duration = Duration::from_micros(5);
/// Of so many syncs in a hundred the flush must be seen.
const FLUSHES_PERCENT: u64 = 90;

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// As it must be, or without bearing.
    Fit,
    /// It could not be seen that it is as it must be.
    Doubtful,
    /// Acknowledged records would be lost.
    NotFit,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    dir: String,
    verdict: Verdict,
    file_system: String,
    device: Option<String>,
    /// Syncs done, and flushes that the device did meanwhile, also for other programs.
    syncs: u64,
    flushes: Option<u64>,
    /// Of a page and its sync, on blocks that were written before, as the log does it.
    commit_written: Option<Cost>,
    /// The same on blocks that were only allocated.
    commit_allocated: Option<Cost>,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Cost {
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

impl Cost {
    fn new(times: &[Duration]) -> Option<Self> {
        let mut spread = Histogram::new();
        for time in times {
            spread.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
        Some(Self {
            p50_us: text::micros(spread.quantile(0.5)?),
            p99_us: text::micros(spread.quantile(0.99)?),
            max_us: text::micros(spread.max()?),
        })
    }

    fn to_text(&self) -> String {
        format!(
            "p50 {:.1} µs, p99 {:.1} µs, max {:.1} µs",
            self.p50_us, self.p99_us, self.max_us
        )
    }
}

/// Runs the command.
pub(crate) fn selftest(args: &LogArgs, out: &mut Output) -> Result<Outcome> {
    let report = examine(&args.dir)?;
    out.show(args.json, &report, print)?;
    Ok(match report.verdict {
        Verdict::Fit => Outcome::Clean,
        Verdict::Doubtful | Verdict::NotFit => Outcome::Finding,
    })
}

fn examine(dir: &Path) -> Result<Report> {
    let disk = OsDisk::new();
    let io = |what: &'static str| move |e: io::Error| Failure::io(what, dir, &e);
    let kind = disk.file_system(dir).map_err(io("cannot examine"))?;
    let device = Device::of(dir).map_err(io("cannot examine"))?;
    let scratch =
        Scratch::create(dir, ".highwater-selftest").map_err(io("cannot make a directory in"))?;
    let place = scratch.path();
    let mut checks = vec![
        file_system(kind),
        lock(&disk, place),
        names(&disk, place),
        maps(&disk, place),
        direct(&disk, place),
        populate(place),
    ];
    let before = device.as_ref().and_then(Device::flushes);
    let clock = OsClock::new();
    let written = probe::commit_cost(place, Extents::Written, EFFORT, &clock)
        .map_err(io("cannot measure in"))?;
    let after = device.as_ref().and_then(Device::flushes);
    let flushes = before.zip(after).map(|(b, a)| a.saturating_sub(b));
    let syncs = written.len() as u64;
    let commit_written = Cost::new(&written);
    checks.push(flush(device.as_ref(), syncs, flushes));
    checks.push(latency(commit_written.as_ref()));
    let commit_allocated = match probe::commit_cost(place, Extents::Allocated, EFFORT, &clock) {
        Ok(times) => Cost::new(&times),
        Err(e) if e.kind() == io::ErrorKind::Unsupported => None,
        Err(e) => return Err(io("cannot measure in")(e)),
    };
    checks.push(allocated(commit_allocated.as_ref()));
    let verdict = checks.iter().map(|check| check.verdict).max();
    Ok(Report {
        dir: dir.display().to_string(),
        verdict: verdict.unwrap_or(Verdict::Doubtful),
        file_system: kind.to_string(),
        device: device.map(|device| device.name()),
        syncs,
        flushes,
        commit_written,
        commit_allocated,
        checks,
    })
}

fn check(name: &'static str, verdict: Verdict, detail: impl Into<String>) -> Check {
    Check {
        name,
        verdict,
        detail: detail.into(),
    }
}

fn file_system(kind: FileSystem) -> Check {
    let (verdict, why) = match kind.suitability() {
        Suitability::Fit => (Verdict::Fit, "local, keeps what was flushed"),
        Suitability::Volatile => (Verdict::NotFit, "memory: nothing survives the machine"),
        Suitability::Layered => (
            Verdict::Doubtful,
            "layers of a container: lost with the container, use a volume",
        ),
        Suitability::Userspace => (Verdict::Doubtful, "a process decides what a sync does"),
        Suitability::Network => (
            Verdict::NotFit,
            "a network file system: neither flushes nor locks are promised",
        ),
        Suitability::Unknown => (Verdict::Doubtful, "nothing is known about it"),
    };
    check("file system", verdict, format!("{kind}: {why}"))
}

/// The lock of a directory keeps a second one away.
fn lock(disk: &OsDisk, place: &Path) -> Check {
    let name = "lock";
    let first = match disk.lock_dir(place) {
        Ok(lock) => lock,
        Err(e) => return check(name, Verdict::NotFit, e.to_string()),
    };
    let second = disk.lock_dir(place).map(|_| ());
    drop(first);
    match second {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => check(
            name,
            Verdict::Fit,
            "a second lock of the directory is refused",
        ),
        Err(e) => check(name, Verdict::NotFit, e.to_string()),
        Ok(()) => check(
            name,
            Verdict::NotFit,
            "a second lock of the directory is granted: two writers would destroy the log",
        ),
    }
}

/// Creating, renaming, syncing of names.
fn names(disk: &OsDisk, place: &Path) -> Check {
    let (old, new) = (place.join("old"), place.join("new"));
    let tried = disk
        .create_new(&old)
        .and_then(|file| file.sync())
        .and_then(|()| disk.rename(&old, &new))
        .and_then(|()| disk.sync_dir(place))
        .and_then(|()| disk.remove_file(&new))
        .and_then(|()| disk.sync_dir(place));
    match tried {
        Ok(()) => check(
            "names",
            Verdict::Fit,
            "files can be renamed, and the directory synced",
        ),
        Err(e) => check("names", Verdict::NotFit, e.to_string()),
    }
}

/// What is written through a map is what is read from the file, and a map can be synced.
fn maps(disk: &OsDisk, place: &Path) -> Check {
    const SIZE: usize = 8192;
    let path = place.join("map");
    let pattern: Vec<u8> = (0..SIZE).map(|n| n.to_le_bytes()[0] | 1).collect();
    let mut read = vec![0; SIZE];
    let tried = disk.create_new(&path).and_then(|file| {
        file.write_all_at(&[0; SIZE], 0)?;
        let map = file.map_append(0)?;
        let size = SIZE as u64;
        let region = map
            .reserve(size, size, Reserver::Appender)
            .map_err(|_| io::ErrorKind::StorageFull)?;
        region.fill(&[&pattern]);
        map.sync(0..size)?;
        file.read_exact_at(&mut read, 0)
    });
    match tried {
        Ok(()) if read == pattern => check(
            "maps",
            Verdict::Fit,
            "what is written through a map is read from the file",
        ),
        Ok(()) => check(
            "maps",
            Verdict::NotFit,
            "what is written through a map is not what is read from the file",
        ),
        Err(e) => check("maps", Verdict::NotFit, e.to_string()),
    }
}

/// Whether commit groups can be written past the page cache. Where not, they go through it: slower,
/// as safe.
fn direct(disk: &OsDisk, place: &Path) -> Check {
    let tried = disk.create_new(&place.join("direct")).and_then(|file| {
        file.write_zeros(0..8192)?;
        file.sync()?;
        let map = file.map_append_direct(0)?;
        let region = map
            .reserve(8, 8192, Reserver::Appender)
            .map_err(|_| io::ErrorKind::StorageFull)?;
        region.fill(&[b"directly"]);
        map.complete_prefix().map_err(io::Error::other)?;
        map.sync(0..8)?;
        let mut read = [0; 8];
        file.read_exact_at(&mut read, 0)?;
        Ok(read == *b"directly")
    });
    let name = "direct writes";
    match tried {
        Ok(true) => check(
            name,
            Verdict::Fit,
            "commit groups are written past the page cache",
        ),
        Ok(false) => check(
            name,
            Verdict::NotFit,
            "what is written past the page cache is not what is read",
        ),
        Err(e) if e.kind() == io::ErrorKind::Unsupported => check(
            name,
            Verdict::Fit,
            "not possible here: commit groups go through the page cache, which is slower",
        ),
        Err(e) => check(name, Verdict::NotFit, e.to_string()),
    }
}

fn populate(place: &Path) -> Check {
    let name = "prefault";
    match probe::can_populate(place) {
        Ok(true) => check(
            name,
            Verdict::Fit,
            "pages are faulted in ahead of the appends",
        ),
        Ok(false) => check(
            name,
            Verdict::Fit,
            "not offered (Linux before 5.14): the first append to each page is slower",
        ),
        Err(e) => check(
            name,
            Verdict::NotFit,
            format!("pages cannot be made writable: {e}"),
        ),
    }
}

/// Whether a sync reaches the device.
fn flush(device: Option<&Device>, syncs: u64, flushes: Option<u64>) -> Check {
    let name = "flush";
    let Some(device) = device else {
        let what =
            "there is no block device that can be watched: whether a sync reaches one is not known";
        return check(name, Verdict::Doubtful, what);
    };
    let on = device.name();
    if device.write_cache() == WriteCache::None {
        let what =
            format!("{on} says that it has no volatile cache: what is written needs no flush");
        return check(name, Verdict::Fit, what);
    }
    let Some(flushes) = flushes else {
        let what = format!("{on} does not count flushes: whether a sync reaches it is not known");
        return check(name, Verdict::Doubtful, what);
    };
    let seen = format!("{syncs} syncs, {flushes} flushes of {on}");
    if flushes == 0 {
        let what = format!("{seen}: a sync does not reach the device (mounted without barriers?)");
        check(name, Verdict::NotFit, what)
    } else if flushes * 100 < syncs * FLUSHES_PERCENT {
        let what = format!("{seen}: some syncs do not reach the device");
        check(name, Verdict::Doubtful, what)
    } else {
        check(name, Verdict::Fit, seen)
    }
}

fn latency(cost: Option<&Cost>) -> Check {
    let name = "commit";
    let Some(cost) = cost else {
        return check(name, Verdict::Doubtful, "not one sync was measured");
    };
    let text = format!("{} on written blocks", cost.to_text());
    if cost.p50_us < text::micros(u64::try_from(FASTEST_FLUSH.as_nanos()).unwrap_or(u64::MAX)) {
        let what = format!("{text}: faster than any device, so none was asked");
        return check(name, Verdict::Doubtful, what);
    }
    check(name, Verdict::Fit, text)
}

fn allocated(cost: Option<&Cost>) -> Check {
    let detail = match cost {
        Some(cost) => format!("{} on allocated blocks", cost.to_text()),
        None => "blocks cannot be allocated without writing them".to_owned(),
    };
    check("allocated", Verdict::Fit, detail)
}

fn print(report: &Report, out: &mut Output) -> Result<()> {
    let mut rows = table(&["check", "", "found"]);
    for check in &report.checks {
        let verdict = match check.verdict {
            Verdict::Fit => "ok",
            Verdict::Doubtful => "DOUBTFUL",
            Verdict::NotFit => "NOT FIT",
        };
        rows.add_row([check.name, verdict, &check.detail]);
    }
    out.line(render(&rows))?;
    out.line("")?;
    let about = |of: Verdict| {
        let of = report.checks.iter().filter(|check| check.verdict == of);
        of.map(|check| check.name).collect::<Vec<_>>().join(", ")
    };
    out.line(match report.verdict {
        Verdict::Fit => format!("{} is fit for a log", report.dir),
        Verdict::Doubtful => format!(
            "it is DOUBTFUL whether {} is fit for a log: {}",
            report.dir,
            about(Verdict::Doubtful)
        ),
        Verdict::NotFit => format!(
            "{} is NOT FIT for a log: {}",
            report.dir,
            about(Verdict::NotFit)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_file_system_has_its_verdict() {
        let verdict = |kind| file_system(kind).verdict;
        assert_eq!(verdict(FileSystem::Ext4), Verdict::Fit);
        assert_eq!(verdict(FileSystem::Tmpfs), Verdict::NotFit);
        assert_eq!(verdict(FileSystem::Nfs), Verdict::NotFit);
        assert_eq!(verdict(FileSystem::Overlay), Verdict::Doubtful);
        assert_eq!(verdict(FileSystem::Other(1)), Verdict::Doubtful);
    }

    #[test]
    fn a_sync_that_is_too_fast_is_doubted() {
        let cost = |micros: u64| Cost::new(&[Duration::from_micros(micros); 3]);
        assert_eq!(latency(cost(1).as_ref()).verdict, Verdict::Doubtful);
        assert_eq!(latency(cost(40).as_ref()).verdict, Verdict::Fit);
        assert_eq!(latency(None).verdict, Verdict::Doubtful);
        assert_eq!(flush(None, 200, None).verdict, Verdict::Doubtful);
    }

    #[test]
    fn the_worst_check_decides() {
        assert!(Verdict::Fit < Verdict::Doubtful && Verdict::Doubtful < Verdict::NotFit);
    }
}
