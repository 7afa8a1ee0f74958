//! What a log takes of the machine: disk, memory, threads.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]
#![expect(clippy::disallowed_methods, reason = "asks the kernel what is used")]

mod common;

use common::process::{command, role, run, say};
use highwater_wal::{Background, Lsn, Options, Wal, WritePath};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Plays the role that this binary was started for.
#[test]
fn child() {
    let Some((role, dir)) = role() else { return };
    match &role[..] {
        "one" => one_small_log(&dir),
        "many" => many_small_logs(&dir),
        "closed" => a_closed_log(&dir),
        other => panic!("{other}"),
    }
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Bytes of disk under a directory, holes not counted.
fn disk(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let size = |entry: fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => disk(&entry.path()),
        false => entry.metadata().unwrap().blocks() * 512,
    };
    entries.map(size).sum()
}

/// Bytes of memory that are this process's own: not those that show files.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

/// Names of the threads that logs have started.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    let names = tasks.filter_map(|task| name(task.unwrap()));
    names.filter(|name| name.starts_with("highwater")).collect()
}

fn write_a_kilobyte(log: &Wal) {
    let lsn = log.append([7; 1000]).unwrap();
    log.sync_to(lsn).unwrap();
}

#[test]
fn a_log_of_a_kilobyte_takes_a_mebibyte_of_disk_and_less_of_memory() {
    let dir = scratch();
    run(command("one", dir.path()));
}

fn one_small_log(dir: &Path) {
    for path in [WritePath::PageCache, WritePath::Auto] {
        let dir = dir.join(format!("{path:?}"));
        // What every process has once: buffers of the runtime, tables of the checksum.
        write_a_kilobyte(&Wal::open_with(dir.join("first"), Options::new()).unwrap());
        let before = memory();
        let log = Wal::open_with(dir.join("log"), Options::new().write_path(path)).unwrap();
        write_a_kilobyte(&log);
        settle(&log);
        let (disk, memory) = (disk(&dir.join("log")), memory().saturating_sub(before));
        say(&format!(
            "{path:?}: {} KiB of disk, {} KiB of memory",
            disk >> 10,
            memory >> 10
        ));
        assert!(disk <= 2 * MIB, "{disk}");
        assert!(memory <= MIB, "{memory}");
    }
}

/// Until the threads of the log have nothing to do: a log at rest gets memory for a burst.
fn settle(log: &Wal) {
    let before = std::time::Instant::now();
    let mut seen = (0, std::time::Instant::now());
    while seen.1.elapsed().as_millis() < 50 {
        let now = memory();
        // The allocator of musl gives back what this loop reads, and takes it again.
        if now.abs_diff(seen.0) > 128 << 10 {
            seen = (now, std::time::Instant::now());
        }
        assert!(
            before.elapsed().as_secs() < 60,
            "{log:?} takes more and more"
        );
        std::thread::yield_now();
    }
}

#[test]
fn two_hundred_logs_share_two_threads_and_take_a_mebibyte_each() {
    let dir = scratch();
    run(command("many", dir.path()));
}

fn many_small_logs(dir: &Path) {
    const LOGS: u64 = 200;
    let options = Options::new().background(Background::Shared);
    write_a_kilobyte(&Wal::open_with(dir.join("first"), options.clone()).unwrap());
    let before = memory();
    let open = |n| Wal::open_with(dir.join(format!("log {n}")), options.clone()).unwrap();
    let logs: Vec<_> = (0..LOGS).map(open).collect();
    logs.iter().for_each(write_a_kilobyte);
    settle(&logs[0]);
    let (memory, names) = (memory() - before, threads());
    say(&format!("{} MiB of memory, {names:?}", memory >> 20));
    assert!(memory <= LOGS * MIB, "{memory}");
    assert!((1..=2).contains(&names.len()), "{names:?}");
    // They do what threads of their own would: each log goes on to its next segments, a future is
    // answered, and a log at rest proves its last group.
    for log in &logs[..3] {
        for _ in 0..4_000 {
            let _lsn = log.append([1; 1000]).unwrap();
        }
        let last = log.append("last").unwrap();
        wait_for(log, last);
        assert!(log.stats().segments >= 2, "{:?}", log.stats());
        assert_eq!(log.read_from(Lsn::ZERO).unwrap().count(), 4_002);
    }
    drop(logs);
    while !threads().is_empty() {
        std::thread::yield_now();
    }
    // And they come back with the next one.
    let log = open(0);
    let lsn = log.append("again").unwrap();
    wait_for(&log, lsn);
    assert!(!threads().is_empty());
}

/// Waits with the future, which the shared flusher answers.
fn wait_for(log: &Wal, lsn: Lsn) {
    common::executor::block_on(log.durable(lsn)).unwrap();
}

#[test]
fn a_closed_log_gives_its_memory_back_and_its_records_can_still_be_read() {
    let dir = scratch();
    run(command("closed", dir.path()));
}

fn a_closed_log(dir: &Path) {
    let options = Options::new()
        .min_segment_size(32 * MIB)
        .segment_size(32 * MIB);
    let log = match Wal::open_with(dir.join("log"), options.write_path(WritePath::Direct)) {
        Err(error) => return say(&format!("skipped: no direct I/O here: {error}")),
        Ok(log) => log,
    };
    let record = |n: u32| n.to_le_bytes().repeat(4096);
    for n in 0..1_000 {
        let lsn = log.append(record(n)).unwrap();
        if n % 100 == 99 {
            log.sync_to(lsn).unwrap();
        }
    }
    let held: Vec<_> = log
        .read_from(Lsn::ZERO)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    settle(&log);
    let open = memory();
    log.close().unwrap();
    let closed = memory();
    say(&format!(
        "{} MiB while open, {} MiB closed",
        open >> 20,
        closed >> 20
    ));
    assert!(open - closed > 8 * MIB, "{open} {closed}");
    assert!(
        held.iter()
            .zip(0..)
            .all(|(held, n)| *held.payload == *record(n))
    );
    let again = log.read_from(Lsn::ZERO).unwrap().map(Result::unwrap);
    assert!(again.zip(0..).all(|(read, n)| *read.payload == *record(n)));
    assert!(memory() < closed + 4 * MIB, "what is read is not copied");
    assert_eq!(log.end_lsn(), log.durable_lsn());
}
