//! Real processes that are killed, stopped, forked from: what they acknowledged is there.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, in its helpers too"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests look at processes from outside"
)]

mod common;

use common::process::{Running, command, role, say};
use common::{contents, options};
use highwater_wal::disk::sim::Rng;
use highwater_wal::{Lsn, Options, Wal, WalError, WritePath};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const THREADS: usize = 4;
const NEXT: &str = "HIGHWATER_WAL_NEXT";

/// What the children of this file do.
#[test]
fn child() {
    let Some((role, dir)) = role() else { return };
    match role.as_str() {
        "commit" => commit_for_ever(&dir),
        "spawn" => spawn_beside_a_log(&dir),
        other => panic!("no role {other}"),
    }
}

fn record(thread: usize, number: u64) -> Vec<u8> {
    let mut rng = Rng::new(number * 31 + thread as u64);
    let mut record = format!("{thread}/{number}/").into_bytes();
    record.resize_with(record.len() + rng.below(900) as usize, || b'x');
    record
}

/// With `SEAL_GROUPS=4096` each commit group is padded to a page, in the process that is killed
/// too.
fn sealed() -> Options {
    let seal_groups = std::env::var("SEAL_GROUPS").map_or(0, |bytes| bytes.parse().unwrap());
    options().seal_groups(seal_groups)
}

/// Appends numbered records and tells which are durable, until it is killed.
fn commit_for_ever(dir: &Path) {
    let next: Vec<u64> = std::env::var(NEXT)
        .unwrap()
        .split(',')
        .map(|n| n.parse().unwrap())
        .collect();
    say("opening");
    let log = Wal::open_with(dir, sealed()).unwrap();
    say("open");
    std::thread::scope(|scope| {
        for (thread, first) in next.into_iter().enumerate() {
            let log = &log;
            scope.spawn(move || {
                for number in first.. {
                    let lsn = log.append(record(thread, number)).unwrap();
                    log.sync_to(lsn).unwrap();
                    say(&format!("ack {thread} {number}"));
                }
            });
        }
    });
}

/// What the parent knows of each thread's records.
struct Known {
    /// Everything below was shown once, or truncated.
    next: [u64; THREADS],
    /// Everything below was acknowledged.
    acked: [u64; THREADS],
}

impl Known {
    fn command(&self, dir: &Path) -> Command {
        let next: Vec<_> = self.next.iter().map(u64::to_string).collect();
        let mut command = command("commit", dir);
        command.env(NEXT, next.join(",")).stderr(Stdio::null());
        command
    }

    fn heard(&mut self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix("ack ") else {
            return false;
        };
        let (thread, number) = rest.split_once(' ').unwrap();
        let (thread, number): (usize, u64) = (thread.parse().unwrap(), number.parse().unwrap());
        assert_eq!(number, self.acked[thread].max(self.next[thread]));
        self.acked[thread] = number + 1;
        true
    }

    /// Recovers the log and checks what it shows; truncates it when it gets long.
    fn check(&mut self, dir: &Path) {
        let log = Wal::open_with(dir, sealed()).unwrap();
        let mut seen: [Option<u64>; THREADS] = [None; THREADS];
        let shown = contents(&log);
        for bytes in &shown {
            let text = std::str::from_utf8(bytes).unwrap();
            let mut parts = text.split('/');
            let mut number = || parts.next().unwrap().parse::<u64>().unwrap();
            let (thread, number) = (number() as usize, number());
            assert_eq!(*bytes, record(thread, number));
            if let Some(before) = seen[thread] {
                assert_eq!(number, before + 1, "each once, in order, without a gap");
            } else {
                assert!(number <= self.next[thread], "nothing is missing in front");
            }
            seen[thread] = Some(number);
        }
        for (thread, last) in seen.into_iter().enumerate() {
            let end = last.map_or(self.next[thread], |last| last + 1);
            assert!(
                end >= self.acked[thread] && end >= self.next[thread],
                "thread {thread}: {} acknowledged, {} shown before, now {end}",
                self.acked[thread],
                self.next[thread]
            );
            assert!(
                end <= self.acked[thread].max(self.next[thread]) + 1,
                "at most what was on its way"
            );
            self.next[thread] = end;
        }
        if shown.len() > 2_000 {
            log.truncate_before(log.durable_lsn()).unwrap();
        }
    }
}

fn pid(running: &Running) -> Pid {
    Pid::from_child(&running.child)
}

/// Waits until the whole process stands still.
fn await_stopped(pid: Pid) {
    let path = format!("/proc/{}/task", pid.as_raw_nonzero());
    let stands = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, s)| s.starts_with('T'))
    };
    while !std::fs::read_dir(&path)
        .unwrap()
        .all(|e| stands(e.unwrap()))
    {
        std::thread::yield_now();
    }
}

/// F1, F2: killed at random moments on the same directory, also while it recovers. `KILL_ROUNDS`
/// makes it longer.
#[test]
fn a_killed_process_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut known = Known {
        next: [0; THREADS],
        acked: [0; THREADS],
    };
    let rounds = std::env::var("KILL_ROUNDS").map_or(20, |n| n.parse().unwrap());
    let mut rng = Rng::new(rounds);
    for round in 0..rounds {
        let mut running = Running::start(known.command(dir.path()));
        running.expect("opening");
        if round % 3 != 0 {
            running.expect("open");
            for _ in 0..rng.below(120) {
                assert!(known.heard(&running.hear().unwrap()));
            }
        }
        running.child.kill().unwrap();
        while let Some(text) = running.hear() {
            assert!(known.heard(&text) || text == "open");
        }
        running.child.wait().unwrap();
        if round % 2 == 0 {
            known.check(dir.path());
        } else {
            // The next life recovers: what it finds is checked with the round after it.
            known.next = known.peek(dir.path());
        }
    }
    known.check(dir.path());
    assert!(known.acked.iter().sum::<u64>() > 100);
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    let live = Wal::open_with(dir.path(), options())
        .unwrap()
        .stats()
        .segments;
    assert!(
        files <= live + 5,
        "{files} files for {live} segments: recoveries leave nothing behind"
    );
}

impl Known {
    /// Where each thread goes on, without recovering the log: an unacknowledged frame may or may
    /// not be shown.
    fn peek(&self, dir: &Path) -> [u64; THREADS] {
        let disk = std::sync::Arc::new(highwater_wal::disk::OsDisk::new());
        let mut next = self.next;
        for frame in highwater_wal::inspect::Log::open(disk, dir)
            .unwrap()
            .frames(Lsn::ZERO)
            .unwrap()
        {
            for bytes in frame.unwrap().records() {
                let text = std::str::from_utf8(bytes).unwrap();
                let mut parts = text.split('/');
                let thread: usize = parts.next().unwrap().parse().unwrap();
                next[thread] = parts.next().unwrap().parse::<u64>().unwrap() + 1;
            }
        }
        next
    }
}

/// F3: stopped, continued, stopped and killed. While it stands still nothing is acknowledged, and
/// the long pause is not taken for anything.
#[test]
fn a_stopped_process_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut known = Known {
        next: [0; THREADS],
        acked: [0; THREADS],
    };
    for round in 0..8 {
        let mut running = Running::start(known.command(dir.path()));
        running.expect("opening");
        running.expect("open");
        let pid = pid(&running);
        for _ in 0..3 {
            for _ in 0..5 + round {
                assert!(known.heard(&running.hear().unwrap()));
            }
            kill_process(pid, Signal::STOP).unwrap();
            await_stopped(pid);
            assert!(
                matches!(
                    Wal::open_with(dir.path(), options()),
                    Err(WalError::Locked { .. })
                ),
                "a holder that stands still is still the holder"
            );
            kill_process(pid, Signal::CONT).unwrap();
        }
        // More than a pipe could hold: it goes on after the stop.
        for _ in 0..20 {
            assert!(known.heard(&running.hear().unwrap()));
        }
        kill_process(pid, Signal::STOP).unwrap();
        await_stopped(pid);
        kill_process(pid, Signal::KILL).unwrap();
        while let Some(text) = running.hear() {
            assert!(known.heard(&text));
        }
        running.child.wait().unwrap();
        known.check(dir.path());
    }
}

/// F52: a program started while a log is open has no descriptor and no map of it, and outlives it
/// without holding its lock.
fn spawn_beside_a_log(dir: &Path) {
    let log = Wal::open_with(dir, options().write_path(WritePath::PageCache)).unwrap();
    let lsn = log.append("before").unwrap();
    log.sync_to(lsn).unwrap();
    // It reads what the parent of this process writes, so it outlives this one.
    let mut other = Command::new("cat").stdout(Stdio::piped()).spawn().unwrap();
    let mut echo = BufReader::new(other.stdout.take().unwrap());
    let mut line = String::new();
    echo.read_line(&mut line).unwrap();
    assert_eq!(line, "are you there?\n");
    let proc = format!("/proc/{}", other.id());
    let of_the_log = |path: &Path| path.starts_with(dir.canonicalize().unwrap());
    for entry in std::fs::read_dir(format!("{proc}/fd")).unwrap() {
        let target = std::fs::read_link(entry.unwrap().path()).unwrap();
        assert!(!of_the_log(&target), "{}", target.display());
    }
    let maps = std::fs::read_to_string(format!("{proc}/maps")).unwrap();
    assert!(!maps.contains(dir.to_str().unwrap()), "{maps}");
    let own = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(
        own.contains(dir.to_str().unwrap()),
        "the check would see it"
    );
    say(&format!("other {}", other.id()));
    // Not closed: the parent kills this process while the other one lives.
    echo.read_line(&mut line).unwrap();
    other.wait().unwrap();
}

#[test]
fn a_program_started_meanwhile_does_not_hold_the_log() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut running = Running::start(command("spawn", dir.path()));
    running.tell("are you there?");
    let other = running.hear().unwrap();
    let other: i32 = other.strip_prefix("other ").unwrap().parse().unwrap();
    let stdin = running.child.stdin.take();
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert!(Path::new(&format!("/proc/{other}")).exists());
    let log = Wal::open_with(dir.path(), options()).unwrap();
    assert_eq!(contents(&log), common::payloads(["before"]));
    drop(stdin); // ends the other one
}
