//! Another process changes the files of a log that is open; system calls of a real process are made
//! to fail.
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

use common::process::{Running, await_word, command, command_under, exists, role, say};
use common::{contents, options};
use highwater_wal::disk::OsDisk;
use highwater_wal::layout::segment_name;
use highwater_wal::{Background, Finding, Lsn, Options, Wal, WalError, WritePath, inspect};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

const SIGBUS: i32 = 7;

/// What the children of this file do.
#[test]
fn child() {
    let Some((role, dir)) = role() else { return };
    match role.as_str() {
        "append on demand" => append_on_demand(&dir, WritePath::PageCache),
        "append on demand directly" => append_on_demand(&dir, WritePath::Direct),
        "read on demand" => read_on_demand(&dir),
        "commit" => commit_until_refused(&dir, WritePath::PageCache),
        "commit directly" => commit_until_refused(&dir, WritePath::Direct),
        other => panic!("no role {other}"),
    }
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn first_segment(dir: &Path) -> PathBuf {
    dir.join(segment_name(Lsn::ZERO))
}

fn cut(path: &Path, len: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(len).unwrap();
}

/// F31: a store into the page in which the file was cut is accepted by everybody and goes nowhere.
/// It is not acknowledged.
#[test]
fn nothing_is_acknowledged_in_a_segment_cut_in_the_middle_of_a_page() {
    let dir = scratch();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let lsn = log.append("kept").unwrap();
    log.sync_to(lsn).unwrap();
    let lost = log.append("lost").unwrap();
    cut(&first_segment(dir.path()), lost.get() + 4);
    let error = log.sync_to(lost).unwrap_err();
    assert!(
        matches!(&error, WalError::Poisoned { path, .. } if *path == first_segment(dir.path())),
        "{error}"
    );
    assert!(error.to_string().contains("cut"), "{error}");
    assert!(log.append("more").is_err());
    assert!(log.close().is_err());
    drop(log);
    let error = Wal::open_with(dir.path(), options()).unwrap_err();
    assert!(
        matches!(
            error,
            WalError::Corrupt {
                finding: Finding::ShortSegment,
                ..
            }
        ),
        "{error}"
    );
}

/// Appends and syncs a record for each line that it gets.
fn append_on_demand(dir: &Path, path: WritePath) {
    let log = Wal::open_with(dir, options().write_path(path)).unwrap();
    for n in 0.. {
        if await_word() != "go" {
            return;
        }
        let done = log.append(vec![n; 500]).and_then(|lsn| log.sync_to(lsn));
        match done {
            Ok(()) => say("ack"),
            Err(_) => say("refused"),
        }
    }
}

/// F31: cut by whole pages, the kernel kills the process with SIGBUS. It has acknowledged nothing
/// that is not there, what is below the cut is as it was, and the next open says what happened.
#[test]
fn a_segment_cut_below_the_writer_is_no_false_acknowledgement() {
    cut_below_the_writer("append on demand", |running| {
        let (said, status) = running.finish();
        assert!(said.is_empty(), "no acknowledgement: {said:?}");
        assert_eq!(status.signal(), Some(SIGBUS), "{status}");
    });
}

/// F31: past the page cache there is no signal. The write would only make the file longer again,
/// with a hole; it is an error.
#[test]
fn a_segment_cut_below_a_direct_writer_is_an_error() {
    if cfg!(highwater_portable) {
        return eprintln!("skipped: it names the system calls of direct I/O");
    }
    cut_below_the_writer("append on demand directly", |mut running| {
        running.expect("refused");
        running.tell("stop");
        let (said, status) = running.finish();
        assert!(said.is_empty() && status.success(), "{said:?} {status}");
    });
}

fn cut_below_the_writer(role: &str, end: impl FnOnce(Running)) {
    let dir = scratch();
    let mut running = Running::start(command(role, dir.path()));
    for _ in 0..30 {
        running.tell("go");
        running.expect("ack");
    }
    // The second segment is the one being written.
    let mut segments: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "wal"))
        .collect();
    segments.sort();
    let (before, tail) = (fs::read(&segments[0]).unwrap(), &segments[1]);
    let whole = fs::read(tail).unwrap();
    cut(tail, 4096);
    running.tell("go");
    end(running);
    let error = Wal::open_with(dir.path(), options()).unwrap_err();
    assert!(
        matches!(&error, WalError::Corrupt { finding: Finding::ShortSegment, file, .. } if file == tail),
        "{error}"
    );
    assert!(
        fs::read(&segments[0]).unwrap() == before,
        "the rest is untouched"
    );
    // With the bytes put back there is all that was acknowledged.
    fs::write(tail, whole).unwrap();
    let shown = contents(&Wal::open_with(dir.path(), options()).unwrap());
    assert!(shown.len() >= 30 && (0..30_u8).all(|n| shown[usize::from(n)] == [n; 500]));
}

/// Reads the whole log each time it is told to.
fn read_on_demand(dir: &Path) {
    let log = Wal::open_with(dir, options()).unwrap();
    while await_word() == "go" {
        for (n, record) in log.read_from(Lsn::ZERO).unwrap().enumerate() {
            match record {
                Ok(record) => assert_eq!(&record.payload[..], [u8::try_from(n).unwrap(); 500]),
                Err(error) => {
                    say(&format!("error {error}"));
                    return;
                }
            }
        }
        say("all right");
    }
}

/// F31: a reader of a segment that is cut gets an error that says so; it never sees other bytes. It
/// died of SIGBUS.
#[test]
fn a_segment_cut_below_a_reader_shows_no_wrong_bytes() {
    let dir = scratch();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    for n in 0..60_u8 {
        let _ = log.append([n; 500]).unwrap();
    }
    log.close().unwrap();
    drop(log);
    let mut running = Running::start(command("read on demand", dir.path()));
    running.tell("go");
    running.expect("all right");
    // In the middle of a page: its rest reads as zeros, the pages behind it are gone.
    cut(&first_segment(dir.path()), 4096 + 700);
    running.tell("go");
    let (said, status) = running.finish();
    assert!(status.success() && said.len() == 1, "{status}: {said:?}");
    let name = first_segment(dir.path());
    for part in [
        "segment file too short",
        name.to_str().unwrap(),
        "at offset 4796",
    ] {
        assert!(said[0].contains(part), "{part}: {said:?}");
    }
}

/// F43, F44: damage ahead of a reader that follows a live log: the reader gets an error, the writer
/// goes on, and a reader of what follows is not disturbed.
#[test]
fn a_tail_meets_damage_and_the_writer_goes_on() {
    let dir = scratch();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let append = |n: u8| {
        let lsn = log.append([n; 500]).unwrap();
        log.sync_to(lsn).unwrap();
        lsn
    };
    let lsns: Vec<_> = (0..60).map(append).collect();
    let mut tail = log.tail(Lsn::ZERO).unwrap();
    for n in 0..5_u8 {
        assert_eq!(tail.next().unwrap().unwrap().payload[..], [n; 500]);
    }
    let file = OpenOptions::new()
        .write(true)
        .open(first_segment(dir.path()))
        .unwrap();
    file.write_all_at(b"?", lsns[8].get() + 20).unwrap();
    for n in 5..8_u8 {
        assert_eq!(tail.next().unwrap().unwrap().payload[..], [n; 500]);
    }
    let error = tail.next().unwrap().unwrap_err();
    assert!(
        matches!(&error, WalError::Corrupt { finding: Finding::CorruptDurable, lsn, file, .. }
            if *lsn == lsns[8] && *file == first_segment(dir.path())),
        "{error}"
    );
    let mut behind = log.tail(lsns[9]).unwrap();
    assert_eq!(behind.next().unwrap().unwrap().payload[..], [9; 500]);
    let _ = append(60);
    assert_eq!(behind.nth(50).unwrap().unwrap().payload[..], [60; 500]);
    log.close().unwrap();
}

/// F42: what is in directories for other reasons, of every kind and also under a segment's
/// name, is left alone.
#[test]
fn strangers_of_every_kind_are_left_alone() {
    let dir = scratch();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let _ = log.append("a").unwrap();
    log.close().unwrap();
    drop(log);
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("lost+found")).unwrap();
    fs::create_dir(at("00000000000000999424.wal")).unwrap();
    std::os::unix::fs::symlink("nowhere", at("00000000000001999872.wal")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::write(at("#LOG#"), "an editor's").unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    assert_eq!(
        log.recovery().ignored.len(),
        5,
        "{:?}",
        log.recovery().ignored
    );
    assert!(log.recovery().removed.is_empty());
    assert_eq!(contents(&log), common::payloads(["a"]));
    drop(log);
    assert!(at("lost+found").is_dir() && at("00000000000000999424.wal").is_dir());
    assert_eq!(fs::read(at("#LOG#")).unwrap(), b"an editor's");
}

/// A FIFO under the name of a file of the log hung each program that opened or inspected it:
/// opening one waits for its other end.
#[test]
fn a_fifo_among_the_files_is_an_error_and_hangs_nobody() {
    for name in ["LOG", "LOG.tmp", "LOCK", "00000000000000000000.wal"] {
        let dir = scratch();
        let log = Wal::open_with(dir.path(), options()).unwrap();
        let _ = log.append("a").unwrap();
        log.close().unwrap();
        drop(log);
        let path = dir.path().join(name);
        let _ = fs::remove_file(&path);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let opened = Wal::open_with(dir.path(), options());
        // Without the holder's pid only a message is poorer.
        if name == "LOCK" {
            assert_eq!(contents(&opened.unwrap()), common::payloads(["a"]));
            continue;
        }
        let error = opened.unwrap_err().to_string();
        if name == "00000000000000000000.wal" {
            assert!(error.contains("missing segment"), "{error}");
        } else {
            let expected = format!("{}: it is a FIFO, not a regular file", path.display());
            assert!(error.contains(&expected), "{error}");
        }
        let verified = inspect::Log::open(Arc::new(OsDisk::new()), dir.path())
            .and_then(|log| log.verify(|_| {}));
        assert_eq!(verified.is_ok_and(|r| r.is_ok()), name == "LOG.tmp");
    }
}

/// Commits until the log is poisoned; an error of another kind is told, and the append tried again.
fn commit_until_refused(dir: &Path, path: WritePath) {
    let options = Options::new()
        .write_path(path)
        .segment_size(16 << 10)
        .background(Background::Inline);
    let log = match Wal::open_with(dir, options) {
        Ok(log) => log,
        Err(error) => return say(&format!("not opened: {error}")),
    };
    for n in 0..200_u8 {
        match log.append(vec![n; 500]).and_then(|lsn| log.sync_to(lsn)) {
            Ok(()) => say(&format!("ack {n}")),
            Err(error @ WalError::Poisoned { .. }) => {
                say(&format!("poisoned: {error}"));
                break;
            }
            Err(error) => say(&format!("nack {n}: {error}")),
        }
    }
    say("done");
}

/// Runs the child under strace, which makes `call` fail with `error` at its `nth` occurrence and
/// from then on. Returns what it said, and the calls traced.
fn under_strace(
    role: &str,
    dir: &Path,
    call: &str,
    error: &str,
    when: &str,
) -> (Vec<String>, Vec<String>) {
    let trace = dir.join("trace");
    let inject = format!("inject={call}:error={error}:when={when}");
    let traced = format!("trace=msync,fdatasync,fsync,pwritev2,{call}");
    let trace_name = trace.to_str().unwrap();
    let strace = [
        "strace", "-f", "-qq", "-o", trace_name, "-e", &traced, "-e", &inject,
    ];
    let mut command = command_under(&strace, role, &dir.join("log"));
    command.stderr(Stdio::null());
    let (said, status) = Running::start(command).finish();
    assert!(status.success(), "{call} {error} {when}: {status} {said:?}");
    let calls = fs::read_to_string(&trace).unwrap();
    (said, calls.lines().map(str::to_owned).collect())
}

/// F15, F16, F18 on the real disk: a sync that fails with whatever error, also one that asks to be
/// called again, is final. It is not tried again, nothing more is acknowledged, and what was is
/// there.
#[test]
fn a_failed_system_call_that_syncs_is_never_tried_again() {
    if cfg!(highwater_portable) {
        return eprintln!("skipped: it names the system calls of direct I/O");
    }
    if !exists("strace") {
        return eprintln!(
            "skipped: strace is not installed, so no system call can be made to fail"
        );
    }
    for error in ["EIO", "EINTR", "EDQUOT", "ENOSPC"] {
        for when in ["6", "6+"] {
            fail_from(("commit", "msync"), error, when);
            fail_from(("commit directly", "pwritev2"), error, when);
        }
    }
}

fn fail_from((role, call): (&str, &str), error: &str, when: &str) {
    let dir = scratch();
    let (said, calls) = under_strace(role, dir.path(), call, error, when);
    let acked = said.iter().filter(|s| s.starts_with("ack")).count();
    assert!(acked >= 4, "{said:?}");
    assert!(said[acked].starts_with("poisoned"), "{error}: {said:?}");
    // The call that failed is named, and no other: a failed direct write was called a failed map.
    let named = match call {
        "msync" => "cannot sync the map of",
        _ => "cannot write past the page cache to",
    };
    assert!(said[acked].contains(named), "{said:?}");
    assert_eq!(said[acked + 1..], ["done"]);
    let first = calls.iter().position(|c| c.contains("INJECTED")).unwrap();
    let later: Vec<_> = calls[first + 1..]
        .iter()
        .filter(|c| c.contains("msync(") || c.contains("pwritev2("))
        .collect();
    assert!(later.is_empty(), "{error}: {later:?}");
    let log = Wal::open_with(dir.path().join("log"), options()).unwrap();
    let shown = contents(&log);
    assert!(shown.len() >= acked);
    for (n, record) in shown.iter().enumerate() {
        assert_eq!(*record, [u8::try_from(n).unwrap(); 500]);
    }
}

/// F18, F24: the same for the syncs that prepare a segment. The attempt fails, each of its calls is
/// made once, and a new attempt makes a new file.
#[test]
fn a_failed_sync_of_a_new_segment_fails_the_attempt_once() {
    if cfg!(highwater_portable) {
        return eprintln!("skipped: it names the system calls of direct I/O");
    }
    if !exists("strace") {
        return eprintln!(
            "skipped: strace is not installed, so no system call can be made to fail"
        );
    }
    // Opening takes two of each; the next belongs to a segment.
    for (call, when) in [("fdatasync", "4"), ("fsync", "6")] {
        for error in ["EINTR", "EIO", "ENOSPC"] {
            let dir = scratch();
            let (said, calls) = under_strace("commit", dir.path(), call, error, when);
            assert_eq!(said.last().unwrap(), "done");
            assert_eq!(calls.iter().filter(|c| c.contains("INJECTED")).count(), 1);
            let nacks: Vec<_> = said.iter().filter(|s| s.starts_with("nack")).collect();
            assert!(nacks.len() <= 1 && !said.iter().any(|s| s.starts_with("poisoned")));
            assert!(
                nacks.len() == 1 || said[0].starts_with("not opened"),
                "{call} {error}: {said:?}\n{calls:?}"
            );
            let acked: Vec<u8> = said
                .iter()
                .filter_map(|s| s.strip_prefix("ack ")?.parse().ok())
                .collect();
            let log = Wal::open_with(dir.path().join("log"), options()).unwrap();
            let shown: Vec<u8> = contents(&log).iter().map(|r| r[0]).collect();
            assert_eq!(shown, acked, "{call} {error}");
        }
    }
}

/// F20: a signal that interrupts a read or a question of opening failed it, if it came in the probe
/// of direct reading. Each is made again; every second one is interrupted here.
#[test]
fn an_interrupted_read_or_question_is_made_again() {
    if cfg!(highwater_portable) {
        return eprintln!("skipped: it names the system calls of direct I/O");
    }
    if !exists("strace") {
        return eprintln!(
            "skipped: strace is not installed, so no system call can be made to fail"
        );
    }
    let dir = scratch();
    let all: Vec<String> = (0..200_u8).map(|n| format!("ack {n}")).collect();
    for call in [
        "preadv",
        "pread64",
        // The question that the C library asks.
        if cfg!(target_env = "musl") {
            "fstat"
        } else {
            "statx"
        },
        "statfs",
        "lseek",
        "flock",
        "fallocate",
        "getdents64",
        "madvise",
        "mincore",
    ] {
        for role in ["commit directly", "commit"] {
            let when = match call {
                "pread64" => "7+2",  // the first ones of a process are the loader's
                "getdents64" => "1", // the directory is read anew
                _ => "1+2",
            };
            let (said, calls) = under_strace(role, dir.path(), call, "EINTR", when);
            let done = [&all[..], &["done".to_owned()]].concat();
            assert_eq!(said, done, "{call} {role}");
            let met = calls.iter().any(|c| c.contains("INJECTED"));
            let direct = ["preadv", "fallocate"].contains(&call);
            // What is read in a second time is asked for by readers only.
            assert!(
                met || call == "mincore" || (direct && role == "commit"),
                "{call} {role}"
            );
            let log = Wal::open_with(dir.path().join("log"), options()).unwrap();
            let records: Vec<u8> = contents(&log).iter().map(|record| record[0]).collect();
            assert!(
                records
                    .chunks(200)
                    .all(|run| run.iter().copied().eq(0..200))
            );
            log.close().unwrap();
        }
    }
}

/// F20: a direct write that comes short within its first page is made again from there. (The kernel
/// is said to have written 512 bytes; it has written none, so what is acknowledged shows that the
/// page was written again.)
#[test]
fn a_direct_write_that_comes_short_goes_on_and_nothing_torn_is_acknowledged() {
    if cfg!(highwater_portable) {
        return eprintln!("skipped: it names the system calls of direct I/O");
    }
    if !exists("strace") {
        return eprintln!(
            "skipped: strace is not installed, so no system call can be made to fail"
        );
    }
    for when in ["3", "3+2"] {
        let dir = scratch();
        let trace = dir.path().join("trace");
        let inject = format!("inject=pwritev2:retval=512:when={when}");
        let words = [
            "strace",
            "-f",
            "-qq",
            "-o",
            trace.to_str().unwrap(),
            "-e",
            &inject,
        ];
        let mut command = command_under(&words, "commit directly", &dir.path().join("log"));
        command.stderr(Stdio::null());
        let (said, status) = Running::start(command).finish();
        assert!(status.success() && said.len() == 201, "{status} {said:?}");
        let calls = fs::read_to_string(&trace).unwrap();
        let short = calls
            .lines()
            .filter(|call| call.contains("INJECTED"))
            .count();
        assert_eq!(short > 1, when == "3+2", "{short}");
        let log = Wal::open_with(dir.path().join("log"), options()).unwrap();
        let records: Vec<u8> = contents(&log).iter().map(|record| record[0]).collect();
        assert!(records.iter().copied().eq(0..200), "{records:?}");
    }
}

/// F20: short again at once, it is an error: the log is poisoned, and what was acknowledged is
/// there.
#[test]
fn a_direct_write_that_comes_short_again_and_again_ends() {
    if cfg!(highwater_portable) {
        return eprintln!("skipped: it names the system calls of direct I/O");
    }
    if !exists("strace") {
        return eprintln!(
            "skipped: strace is not installed, so no system call can be made to fail"
        );
    }
    for retval in ["512", "0"] {
        let dir = scratch();
        let inject = format!("inject=pwritev2:retval={retval}:when=6+");
        let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
        let mut command = command_under(&words, "commit directly", &dir.path().join("log"));
        command.stderr(Stdio::null());
        let (said, status) = Running::start(command).finish();
        let acked = said.iter().filter(|s| s.starts_with("ack")).count();
        assert!(status.success() && acked >= 3, "{status} {said:?}");
        assert!(said[acked].starts_with("poisoned"), "{said:?}");
        assert!(
            said[acked].contains(&format!("only {retval} bytes of a page")),
            "{said:?}"
        );
        let log = Wal::open_with(dir.path().join("log"), options()).unwrap();
        assert!(contents(&log).len() >= acked);
    }
}
