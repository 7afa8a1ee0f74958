//! Real file systems that are full, at every point at which the log needs space. Each runs in a
//! process of its own, so that a SIGBUS would be seen. Where this process may not mount, the tests
//! say so and pass.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests fill the disk beside the log"
)]

mod common;

use common::mounted::Mounted;
use common::process::{command, role, run};
use highwater_wal::disk::OsDisk;
use highwater_wal::{Background, Lsn, Options, Wal, WalError, inspect};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SEGMENT: u64 = 256 << 10;
const RECORD: usize = 3000;

/// What the children of this file do.
#[test]
fn child() {
    let Some((role, dir)) = role() else { return };
    match role.as_str() {
        "rotation" => full_at_rotation(&dir),
        "open" => full_at_open(&dir),
        "recovery" => full_at_recovery(&dir),
        "truncation" => full_at_truncation(&dir),
        "beside" => others_fill_and_free(&dir),
        other => panic!("no role {other}"),
    }
}

/// Plays `role` on a small file system.
fn on_a_small_disk(role: &str) {
    if let Some(small) = Mounted::ext4(8) {
        run(command(role, small.path()));
    }
}

fn options() -> Options {
    Options::new().segment_size(SEGMENT)
}

/// Takes all space but about `left` bytes.
fn fill_up(dir: &Path, left: u64) {
    let reserve = dir.join("reserve");
    let mut file = File::create(&reserve).unwrap();
    let zeros = vec![1; 64 << 10];
    for at in (0..left).step_by(zeros.len()) {
        let len = usize::try_from(left - at).unwrap().min(zeros.len());
        file.write_all(&zeros[..len]).unwrap();
    }
    file.sync_all().unwrap();
    let mut filler = File::options()
        .create(true)
        .append(true)
        .open(dir.join("filler"))
        .unwrap();
    for size in [64 << 10, 4096, 1] {
        loop {
            match filler.write(&zeros[..size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    filler.sync_all().unwrap();
    fs::remove_file(reserve).unwrap();
    // What was removed is free at once only after this.
    File::open(dir).unwrap().sync_all().unwrap();
}

fn make_room(dir: &Path) {
    fs::remove_file(dir.join("filler")).unwrap();
    File::open(dir).unwrap().sync_all().unwrap();
}

/// The records that were acknowledged: numbered, all of one size.
#[derive(Default)]
struct Acked(u64);

impl Acked {
    fn next(&self) -> Vec<u8> {
        let mut record = self.0.to_le_bytes().to_vec();
        record.resize(RECORD, 0x5A);
        record
    }

    /// Appends and syncs until an append is refused for lack of space.
    fn append_until_full(&mut self, log: &Wal) -> WalError {
        loop {
            match log.append(self.next()) {
                Ok(lsn) => log.sync_to(lsn).unwrap(),
                Err(error) => return error,
            }
            self.0 += 1;
            assert!(self.0 < 100_000, "the disk is never full");
        }
    }

    /// Space is back: the first attempt may meet the failure of one that began before.
    fn resume(&mut self, log: &Wal) {
        let lsn = (0..3)
            .find_map(|_| log.append(self.next()).ok())
            .expect("appends resume without reopening");
        log.sync_to(lsn).unwrap();
        self.0 += 1;
    }

    /// Everything that is left of the log is there, up to the last record acknowledged.
    fn check(&self, log: &Wal) {
        let mut expected = None;
        for record in log.read_from(Lsn::ZERO).unwrap() {
            let payload = record.unwrap().payload;
            let number = u64::from_le_bytes(payload[..8].try_into().unwrap());
            assert!(expected.is_none_or(|e| e == number));
            assert!(payload.len() == RECORD && payload[8..].iter().all(|b| *b == 0x5A));
            expected = Some(number + 1);
        }
        if log.first_lsn() == Lsn::ZERO && self.0 > 0 {
            assert_eq!(expected, Some(self.0));
        }
    }
}

fn assert_full(error: &WalError, dir: &Path) {
    assert!(error.is_no_space(), "{error}");
    assert!(error.to_string().contains(dir.to_str().unwrap()), "{error}");
}

/// F21, F22, P8: full when the next segment is needed, with every amount of space that is too
/// little for it. No record is lost, the error comes at once and at every further attempt, and
/// appends go on when there is room.
#[test]
fn a_disk_that_is_full_at_rotation_refuses_and_resumes() {
    on_a_small_disk("rotation");
}

fn full_at_rotation(disk: &Path) {
    for background in [Background::Inline, Background::Thread] {
        let dir = disk.join(format!("{background:?}"));
        let mut acked = Acked::default();
        let log = Wal::open_with(&dir, options().background(background)).unwrap();
        for left in [0, 4096, SEGMENT / 2, SEGMENT - 4096, SEGMENT + (64 << 10)] {
            fill_up(disk, left);
            for _ in 0..3 {
                assert_full(&acked.append_until_full(&log), &dir);
            }
            log.sync().unwrap();
            acked.check(&log);
            let names = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name());
            assert!(
                !names
                    .into_iter()
                    .any(|n| n.to_string_lossy().ends_with(".wal.tmp"))
            );
            make_room(disk);
            acked.resume(&log);
            log.truncate_before(log.durable_lsn()).unwrap();
        }
        acked.check(&log);
        log.close().unwrap();
        drop(log);
        acked.check(&Wal::open_with(&dir, options()).unwrap());
        fs::remove_dir_all(&dir).unwrap();
    }
}

/// F21: no room for a new log: the error says so, and what is left behind is nothing that the next
/// attempt minds.
#[test]
fn a_log_cannot_be_made_on_a_full_disk_and_can_be_later() {
    on_a_small_disk("open");
}

fn full_at_open(disk: &Path) {
    let dir = disk.join("log");
    for left in [0, 4096, 8192, SEGMENT, SEGMENT + 4096] {
        fill_up(disk, left);
        match Wal::open_with(&dir, options()) {
            Err(WalError::BadDirectory { source, .. }) => {
                assert_eq!(source.kind(), ErrorKind::StorageFull, "{left}: {source}");
            }
            Err(error) => assert_full(&error, &dir),
            Ok(log) => {
                // Enough for the log, not for the segment behind it.
                assert!(left > SEGMENT, "{left}");
                assert_full(&Acked::default().append_until_full(&log), &dir);
            }
        }
        make_room(disk);
    }
    let log = Wal::open_with(&dir, options()).unwrap();
    let lsn = log.append("x").unwrap();
    log.sync_to(lsn).unwrap();
}

/// F23: a log that was killed opens on a full disk, shows everything, can be looked at, and makes
/// room by truncation.
#[test]
fn a_killed_log_is_recovered_on_a_full_disk() {
    on_a_small_disk("recovery");
}

fn full_at_recovery(disk: &Path) {
    let dir = disk.join("log");
    let mut acked = Acked::default();
    {
        // Nobody else may rename a file while the directory is copied.
        let log = Wal::open_with(&dir, options().background(Background::Inline)).unwrap();
        for _ in 0..600 {
            let lsn = log.append(acked.next()).unwrap();
            log.sync_to(lsn).unwrap();
            acked.0 += 1;
        }
        // Killed: a copy taken now has no close frame.
        let killed = disk.join("killed");
        fs::create_dir(&killed).unwrap();
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), killed.join(entry.file_name())).unwrap();
        }
    }
    fs::remove_dir_all(&dir).unwrap();
    let dir = disk.join("killed");
    fill_up(disk, 0);
    let looked = inspect::Log::open(Arc::new(OsDisk::new()), &dir).unwrap();
    assert!(looked.verify(|_| ()).unwrap().is_ok());
    for _ in 0..3 {
        let log = Wal::open_with(&dir, options()).unwrap();
        acked.check(&log);
        assert!(log.recovery().proven_lsn > Lsn::ZERO);
        assert_full(&acked.append_until_full(&log), &dir);
        acked.check(&log);
    }
    let log = Wal::open_with(&dir, options()).unwrap();
    acked.check(&log);
    log.truncate_before(log.durable_lsn()).unwrap();
    assert!(log.first_lsn() > Lsn::ZERO);
    for _ in 0..200 {
        acked.resume(&log);
    }
    acked.check(&log);
}

/// F23: truncation, which frees space, needs none: again and again on a disk that another program
/// fills each time.
#[test]
fn a_full_disk_can_be_truncated_again_and_again() {
    on_a_small_disk("truncation");
}

fn full_at_truncation(disk: &Path) {
    let dir = disk.join("log");
    let mut acked = Acked::default();
    let log = Wal::open_with(&dir, options()).unwrap();
    let mut refused = 0;
    for round in 0..4 {
        if round > 0 {
            make_room(disk);
        }
        for _ in 0..200 {
            acked.resume(&log);
        }
        fill_up(disk, 0);
        assert_full(&acked.append_until_full(&log), &dir);
        refused += 1;
        let first = log.first_lsn();
        log.truncate_before(log.durable_lsn()).unwrap();
        assert!(log.first_lsn() > first, "round {round}");
        // What was freed serves the log itself, without anybody else making room.
        for _ in 0..100 {
            acked.resume(&log);
        }
        acked.check(&log);
    }
    assert_eq!(refused, 4);
}

/// F21, F22: another program fills the disk and frees it again while the log is appended to,
/// truncated and read. Each append is acknowledged or refused for lack of space; nothing
/// acknowledged is ever missing; nobody dies.
#[test]
fn others_may_fill_and_free_the_disk_at_any_time() {
    on_a_small_disk("beside");
}

fn others_fill_and_free(disk: &Path) {
    let dir = disk.join("log");
    let mut acked = Acked::default();
    let log = Wal::open_with(&dir, options()).unwrap();
    let done = AtomicBool::new(false);
    let (mut refused, mut last) = (0_u32, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                fill_up(disk, 0);
                make_room(disk);
            }
        });
        // Recycled segments need no space: refusals become rare.
        while acked.0 < 1_000 || (refused < 10 && acked.0 < 4_000) {
            match log.append(acked.next()) {
                Ok(lsn) => {
                    log.sync_to(lsn).unwrap();
                    acked.0 += 1;
                }
                Err(error) => {
                    assert_full(&error, &dir);
                    refused += 1;
                    assert!(refused < 200_000, "no room is ever seen again");
                }
            }
            if acked.0 >= last + 300 {
                last = acked.0;
                acked.check(&log);
                match log.truncate_before(log.durable_lsn()) {
                    Ok(()) => {}
                    Err(error) => assert_full(&error, &dir),
                }
            }
        }
        done.store(true, Ordering::Release);
    });
    acked.check(&log);
    log.close().unwrap();
    drop(log);
    acked.check(&Wal::open_with(&dir, options()).unwrap());
}
