//! A process that runs into its limits: descriptors, address space, file size; and damage that
//! would make a decoder take too much. Each in a process of its own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests meddle with the directory from outside"
)]

mod common;

use common::contents;
use common::process::{command, command_under, role, run};
use highwater_disk::Reserver;
use highwater_wal::disk::{Disk, OsDisk, raw_os_error};
use highwater_wal::layout::{META_NAME, frame_header, segment_name};
use highwater_wal::{
    AppendOptions, Background, Durability, Lsn, Options, Wal, WalError, WritePath, inspect,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// What the children of this file do.
#[test]
fn child() {
    let Some((role, dir)) = role() else { return };
    match role.as_str() {
        "descriptors" => without_descriptors(&dir),
        "address space" => without_address_space(&dir),
        "give back" => give_back_without_address_space(&dir),
        "file size" => within_a_file_size(&dir),
        "many segments" => many_segments(&dir),
        "decode" => decode_in_little_memory(&dir),
        other => panic!("no role {other}"),
    }
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn limit(resource: Resource, to: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    let current = to.or(maximum);
    setrlimit(resource, Rlimit { current, maximum }).unwrap();
}

fn errno_of(error: &WalError) -> Option<i32> {
    match error {
        WalError::Io { source, .. } => raw_os_error(source),
        _ => None,
    }
}

/// Waits until the threads of the log run. The standard library ends the process if a thread finds
/// no memory for its signal stack, which it takes just before it gets its name.
fn threads_run() {
    let names = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| {
            let comm = task.unwrap().path().join("comm");
            std::fs::read_to_string(comm).ok()
        });
        names
            .filter(|name| name.starts_with("highwater-wal-"))
            .count()
    };
    while names() < 2 {
        std::thread::yield_now();
    }
}

/// Appends and syncs until an append fails; returns how many were acknowledged and the error.
fn fill(log: &Wal, size: usize) -> (usize, WalError) {
    for n in 0.. {
        match log.append(vec![7; size]) {
            Ok(lsn) => log.sync_to(lsn).unwrap(),
            Err(error) => return (n, error),
        }
    }
    unreachable!("some append fails")
}

/// The first append after a failure may meet the failure of a background attempt that began before
/// the limit was lifted.
fn resumed(log: &Wal) {
    let lsn = (0..3)
        .find_map(|_| log.append("resumed").ok())
        .expect("appends go on without reopening");
    log.sync_to(lsn).unwrap();
}

/// F27: no descriptor is left when the next segment is needed: an error, nothing acknowledged is
/// lost, reading and syncing go on, and appending too once there are descriptors again.
#[test]
fn without_descriptors_the_log_refuses_and_resumes() {
    let dir = scratch();
    run(command("descriptors", dir.path()));
}

fn without_descriptors(dir: &Path) {
    for background in [Background::Inline, Background::Thread] {
        let dir = dir.join(format!("{background:?}"));
        let options = common::options().background(background);
        let log = Wal::open_with(&dir, options.clone()).unwrap();
        let lsn = log.append(vec![1; 1000]).unwrap();
        log.sync_to(lsn).unwrap();
        // Every free number below the limit is taken.
        limit(Resource::Nofile, Some(64));
        let taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        let (acked, error) = fill(&log, 1000);
        assert_eq!(errno_of(&error), Some(24), "{error}"); // EMFILE
        let place = dir.to_str().unwrap();
        assert!(error.to_string().contains(place), "{error}");
        assert_eq!(contents(&log).len(), 1 + acked);
        log.sync().unwrap();
        if let Err(error) = log.truncate_before(log.durable_lsn()) {
            assert_eq!(errno_of(&error), Some(24), "{error}");
        }
        let refused = Wal::open_with(dir.join("other"), options.clone()).unwrap_err();
        let (WalError::BadDirectory { source, .. } | WalError::Io { source, .. }) = &refused else {
            panic!("{refused}")
        };
        assert_eq!(raw_os_error(source), Some(24), "{refused}");
        drop(taken);
        limit(Resource::Nofile, None);
        resumed(&log);
        log.close().unwrap();
        drop(log);
        let log = Wal::open_with(&dir, options).unwrap();
        assert_eq!(contents(&log).last().unwrap(), b"resumed");
    }
}

/// F27: however many segments a log has, it holds few files open. Through the page cache it was one
/// for each, until it was truncated. (Found by an outsider with `ulimit -n 1024`.)
#[test]
fn a_log_of_many_segments_holds_few_files_open() {
    let dir = scratch();
    run(command("many segments", dir.path()));
}

fn many_segments(dir: &Path) {
    for (run, durability) in [Durability::Os, Durability::Sync].into_iter().enumerate() {
        limit(Resource::Nofile, Some(120));
        let options = Options::new().segment_size(8192).durability(durability);
        let options = options.write_path(WritePath::PageCache);
        let log = Wal::open_with(dir.join(run.to_string()), options).unwrap();
        for n in 0..2_000_usize {
            let record = AppendOptions::new();
            let _ = log
                .append_with(&record, vec![n.to_le_bytes()[0]; 1000])
                .unwrap();
        }
        assert!(log.stats().segments > 400);
        log.sync().unwrap();
        limit(Resource::Nofile, None);
        assert_eq!(contents(&log).len(), 2_000);
        log.close().unwrap();
    }
}

fn address_space() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    pages * 4096
}

/// F26: no address space for the map of the next segment, nor for the first one of a log.
#[test]
fn without_address_space_the_log_refuses_and_resumes() {
    if cfg!(highwater_portable) {
        return eprintln!("skipped: it waits for a thread that only direct I/O needs");
    }
    let dir = scratch();
    run(command("address space", dir.path()));
}

fn without_address_space(dir: &Path) {
    let options = Options::new().segment_size(48 << 20);
    let options = options.min_segment_size(48 << 20);
    let log = Wal::open_with(dir.join("log"), options.clone()).unwrap();
    let lsn = log.append("first").unwrap();
    log.sync_to(lsn).unwrap();
    // On a busy machine the limit came before the flusher ran, and the process was aborted.
    threads_run();
    // The next segment may be prepared in time or not; room for one more there is not.
    limit(Resource::As, Some(address_space() + (24 << 20)));
    let (acked, error) = fill(&log, 8 << 20);
    assert_eq!(errno_of(&error), Some(12), "{error}"); // ENOMEM
    let first = log.read_from(Lsn::ZERO).unwrap().next().unwrap().unwrap();
    assert_eq!(&first.payload[..], b"first");
    let error = Wal::open_with(dir.join("other"), options.clone()).unwrap_err();
    assert_eq!(errno_of(&error), Some(12), "{error}");
    limit(Resource::As, None);
    resumed(&log);
    log.close().unwrap();
    drop(log);
    assert_eq!(
        contents(&Wal::open_with(dir.join("log"), options.clone()).unwrap()).len(),
        acked + 2
    );
    Wal::open_with(dir.join("other"), options).unwrap();
}

/// F26: no address space to show the file in the place of its memory, which stays then, also
/// under its readers.
#[test]
fn without_address_space_memory_is_not_given_back() {
    let dir = scratch();
    run(command("give back", dir.path()));
}

fn give_back_without_address_space(dir: &Path) {
    const SIZE: usize = 8 << 20;
    let file = OsDisk::new().create_new(&dir.join("file")).unwrap();
    file.write_all_at(&vec![0; SIZE], 0).unwrap();
    let Ok(map) = file.map_append_direct(0) else {
        return eprintln!("skipped: no direct writes here");
    };
    let len = SIZE as u64;
    let region = map.reserve(len, len, Reserver::Appender).unwrap();
    region.fill(&[&vec![7; SIZE]]);
    let _ = map.complete_prefix().unwrap();
    map.sync(0..len).unwrap();
    let held = map.read(0..len).unwrap();
    limit(Resource::As, Some(address_space()));
    let error = map.give_back(len).unwrap_err();
    assert_eq!(raw_os_error(&error), Some(12), "{error}"); // ENOMEM
    assert!(held.iter().all(|byte| *byte == 7));
    limit(Resource::As, None);
    map.give_back(len).unwrap();
    assert!(held.iter().all(|byte| *byte == 7));
}

/// F28: a limit on the size of files is an error, not the death of the process, whether SIGXFSZ is
/// ignored or not.
#[test]
fn a_limit_on_file_sizes_is_an_error() {
    let dir = scratch();
    run(command("file size", dir.path()));
    let ignoring = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    run(command_under(&ignoring, "file size", &dir.path().join("2")));
}

fn within_a_file_size(dir: &Path) {
    // Past the page cache a limit lowered below the size of the segments poisons the log: it may
    // write them no more.
    let small = || {
        Options::new()
            .segment_size(16 << 10)
            .write_path(WritePath::PageCache)
    };
    let log = Wal::open_with(dir.join("log"), small()).unwrap();
    limit(Resource::Fsize, Some(20 << 10));
    let error = Wal::open_with(dir.join("other"), Options::new().segment_size(64 << 10));
    let error = error.unwrap_err();
    assert_eq!(errno_of(&error), Some(27), "{error}"); // EFBIG
    // The error said "file too large" and not whose idea that is.
    let advice =
        "; raise the limit on the size of files (`ulimit -f`) or lower `Options::segment_size`";
    let text = error.to_string();
    assert!(text.contains("other") && text.ends_with(advice), "{text}");
    for _ in 0..60 {
        // A log whose segments fit is not disturbed.
        let lsn = log.append(vec![1; 1000]).unwrap();
        log.sync_to(lsn).unwrap();
    }
    limit(Resource::Fsize, Some(10 << 10));
    let (acked, error) = fill(&log, 1000);
    assert_eq!(errno_of(&error), Some(27), "{error}");
    assert_eq!(contents(&log).len(), 60 + acked);
    limit(Resource::Fsize, None);
    resumed(&log);
    log.close().unwrap();
    let left: Vec<_> = fs::read_dir(dir.join("other")).unwrap().collect();
    assert!(left.iter().all(|e| {
        let name = e.as_ref().unwrap().file_name();
        name == "LOCK"
    }));
}

/// A closed log with a few segments.
fn closed_log(dir: &Path) {
    let log = Wal::open_with(dir, common::options()).unwrap();
    for n in 0..40_u8 {
        let _ = log.append_batch([vec![n; 500], vec![n; 400]]).unwrap();
    }
    log.close().unwrap();
}

/// F36, F41, F49: damaged lengths, a `LOG` and a `LOCK` of a gigabyte, a segment of a terabyte: all
/// of them judged with 64 MiB of memory to spare, because nothing is taken before its length was
/// believed.
#[test]
fn damaged_lengths_take_no_memory() {
    let dir = scratch();
    run(command("decode", dir.path()));
}

fn decode_in_little_memory(dir: &Path) {
    let first = segment_name(Lsn::ZERO);
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path));
    let damages: [Damage<'_>; 5] = [
        ("length", &|dir| {
            let file = OpenOptions::new()
                .write(true)
                .open(dir.join(&first))
                .unwrap();
            for len in [u32::MAX, i32::MAX.cast_unsigned(), 1 << 30] {
                let at = 4096 + frame_header::PAYLOAD_LEN as u64;
                file.write_all_at(&len.to_le_bytes(), at).unwrap();
            }
        }),
        ("sparse segment", &|dir| {
            set_len(&dir.join(&first), 1 << 40);
        }),
        ("sparse LOG", &|dir| set_len(&dir.join(META_NAME), 1 << 40)),
        ("sparse LOCK", &|dir| set_len(&dir.join("LOCK"), 1 << 40)),
        ("sparse stranger", &|dir| {
            File::create(dir.join("core"))
                .unwrap()
                .set_len(1 << 40)
                .unwrap();
        }),
    ];
    limit(Resource::As, Some(address_space() + (64 << 20)));
    for (name, damage) in damages {
        let dir = dir.join(name);
        closed_log(&dir);
        damage(&dir);
        let harmless = matches!(name, "sparse LOCK" | "sparse stranger");
        let verified = inspect::Log::open(Arc::new(OsDisk::new()), &dir)
            .and_then(|log| log.verify(|_| ()))
            .is_ok_and(|report| report.is_ok());
        assert_eq!(verified, harmless, "{name}");
        let all = Wal::open_with(&dir, common::options()).and_then(|log| {
            let records: Result<Vec<_>, _> = log.read_from(Lsn::ZERO)?.collect();
            records.map(|records| records.len())
        });
        match all {
            Ok(count) => assert!(harmless && count == 80, "{name}: {count}"),
            Err(error) => assert!(
                !harmless && matches!(error, WalError::Corrupt { .. }),
                "{name}: {error}"
            ),
        }
    }
}

fn set_len(path: &Path, len: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(len).unwrap();
}
