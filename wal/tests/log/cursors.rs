//! Named consumers: how far they have come is durable, and keeps the log.

use crate::common::contents;
use highwater_wal::disk::{Disk, ManualClock, SimDisk};
use highwater_wal::inspect::{self, Log};
use highwater_wal::{Admission, AppendOptions, Background, Lsn, Options, Wal, WalError, WritePath};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn disk(sim: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(sim.clone())
}

fn options(sim: &SimDisk) -> Options {
    Options::new()
        .segment_size(16 << 10)
        .min_segment_size(16 << 10)
        .write_path(WritePath::PageCache)
        .background(Background::Inline)
        .log_id_seed(5)
        .disk(disk(sim))
}

fn open(sim: &SimDisk) -> Wal {
    Wal::open_with("/log", options(sim)).unwrap()
}

fn kill(sim: &SimDisk, log: Wal) -> SimDisk {
    let killed = sim.kill_process();
    drop(log);
    killed
}

fn fill(log: &Wal, segments: usize) {
    while log.stats().segments < segments {
        let _lsn = log.append([0; 900]).unwrap();
    }
    log.sync().unwrap();
}

#[test]
fn a_consumer_goes_on_where_it_was() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let _lsn = log.append_batch(["a", "b"]).unwrap();
    let c = log.append("c").unwrap();
    log.sync().unwrap();
    let mut cursor = log.cursor("billing").unwrap();
    let records: Vec<_> = cursor.read().unwrap().map(Result::unwrap).collect();
    let last: Vec<_> = records.iter().map(|record| record.is_last).collect();
    assert_eq!(last, [false, true, true]);
    assert_eq!((records[0].next_lsn, records[1].next_lsn), (c, c));
    cursor.advance(records[1].next_lsn).unwrap();
    cursor.commit().unwrap();
    let sim = kill(&sim, log);
    let log = open(&sim);
    let cursor = log.cursor("billing").unwrap();
    assert_eq!(cursor.position(), c);
    let next: Vec<_> = cursor
        .read()
        .unwrap()
        .map(|r| r.unwrap().payload.to_vec())
        .collect();
    assert_eq!(next, [b"c"]);
}

/// What is not committed goes with the next group: one flush for both.
#[test]
fn advancing_costs_no_flush() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let _lsn = log.append_sync("a").unwrap();
    let mut cursor = log.cursor("billing").unwrap();
    cursor.advance(log.durable_lsn()).unwrap();
    let position = cursor.position();
    assert!(cursor.durable_position() < position);
    let groups = log.stats().groups;
    let _lsn = log.append_sync("b").unwrap();
    assert_eq!(log.stats().groups, groups + 1);
    assert_eq!(cursor.durable_position(), position);
    cursor.commit().unwrap();
    assert_eq!(
        log.stats().groups,
        groups + 1,
        "there was nothing left to commit"
    );
    let sim = kill(&sim, log);
    drop(cursor);
    assert_eq!(open(&sim).cursor("billing").unwrap().position(), position);
}

#[test]
fn syncing_and_closing_write_what_was_advanced() {
    for close in [false, true] {
        let sim = SimDisk::new();
        let log = open(&sim);
        let _lsn = log.append_sync("a").unwrap();
        let mut cursor = log.cursor("billing").unwrap();
        cursor.advance(log.durable_lsn()).unwrap();
        let position = cursor.position();
        match close {
            true => log.close().unwrap(),
            false => log.sync().unwrap(),
        }
        let sim = kill(&sim, log);
        drop(cursor);
        assert_eq!(open(&sim).cursor("billing").unwrap().position(), position);
    }
}

/// With threads it is written although no producer comes.
#[test]
fn an_idle_log_writes_what_was_advanced() {
    let sim = SimDisk::new();
    let clock = Arc::new(ManualClock::new(0));
    let options = options(&sim).background(Background::Thread);
    let log = Wal::open_with("/log", options.clock(clock.clone())).unwrap();
    let _lsn = log.append_sync("a").unwrap();
    let mut cursor = log.cursor("billing").unwrap();
    cursor.advance(log.durable_lsn()).unwrap();
    let position = cursor.position();
    let mut looks = 0;
    while cursor.durable_position() != position {
        clock.advance(Duration::from_millis(100));
        std::thread::yield_now();
        looks += 1;
        assert!(looks < 1_000_000);
    }
}

#[test]
fn a_cursor_keeps_the_log_also_after_a_restart() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let mut cursor = log.cursor("billing").unwrap();
    fill(&log, 3);
    log.truncate_before(log.durable_lsn()).unwrap();
    assert_eq!(log.first_lsn(), Lsn::ZERO);
    let holds = log.holds();
    assert_eq!(holds[0].name, "the cursor \"billing\"");
    // Not before the position is durable: after a crash the consumer would miss records.
    cursor.advance(log.durable_lsn()).unwrap();
    assert!(cursor.durable_position() < cursor.position());
    log.truncate_before(log.durable_lsn()).unwrap();
    assert_eq!(log.first_lsn(), Lsn::ZERO);
    drop(cursor);
    let sim = kill(&sim, log);
    let log = open(&sim);
    log.truncate_before(log.durable_lsn()).unwrap();
    assert_eq!(log.first_lsn(), Lsn::ZERO);
    let mut cursor = log.cursor("billing").unwrap();
    cursor.advance(log.durable_lsn()).unwrap();
    cursor.commit().unwrap();
    log.truncate_before(log.durable_lsn()).unwrap();
    assert!(log.first_lsn() > Lsn::ZERO);
}

/// While a later position is on its way to the disk, the log is kept from where the consumer went
/// back to.
#[test]
fn a_consumer_goes_back_and_keeps_what_it_goes_back_to() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let first = log.append("a").unwrap();
    fill(&log, 3);
    let mut cursor = log.cursor("billing").unwrap();
    cursor.advance(log.durable_lsn()).unwrap();
    let _carrier = log.append("carries the position").unwrap();
    cursor.rewind(first).unwrap();
    log.sync().unwrap();
    log.truncate_before(log.durable_lsn()).unwrap();
    assert_eq!(log.first_lsn(), Lsn::ZERO);
    assert_eq!(
        &cursor.read().unwrap().next().unwrap().unwrap().payload[..],
        b"a"
    );
    cursor.commit().unwrap();
    drop(cursor);
    let sim = kill(&sim, log);
    let log = open(&sim);
    let mut cursor = log.cursor("billing").unwrap();
    assert_eq!(cursor.position(), first);
    cursor.advance(log.durable_lsn()).unwrap();
    cursor.commit().unwrap();
    log.truncate_before(log.durable_lsn()).unwrap();
    let error = cursor.rewind(first).unwrap_err();
    assert!(matches!(error, WalError::Truncated { .. }), "{error}");
}

#[test]
fn a_cursor_that_is_removed_keeps_nothing() {
    let sim = SimDisk::new();
    let log = open(&sim);
    let cursor = log.cursor("billing").unwrap();
    let error = log.remove_cursor("billing").unwrap_err();
    assert!(matches!(error, WalError::CursorInUse { .. }), "{error}");
    drop(cursor);
    fill(&log, 3);
    assert!(log.remove_cursor("billing").unwrap());
    assert!(!log.remove_cursor("billing").unwrap());
    log.truncate_before(log.durable_lsn()).unwrap();
    assert!(log.first_lsn() > Lsn::ZERO);
    let sim = kill(&sim, log);
    assert_eq!(open(&sim).cursors(), []);
}

#[test]
fn bad_input_is_refused() {
    let sim = SimDisk::new();
    let log = open(&sim);
    for name in ["", "a\nb", &"x".repeat(129)] {
        let error = log.cursor(name).unwrap_err();
        assert!(matches!(error, WalError::BadOptions { .. }), "{error}");
    }
    let mut cursor = log.cursor("billing").unwrap();
    let error = log.cursor("billing").unwrap_err();
    assert!(matches!(error, WalError::CursorInUse { .. }), "{error}");
    let lsn = log.append("not durable").unwrap();
    let beyond = Lsn::new(lsn.get() + 1000);
    let error = cursor.advance(log.end_lsn()).unwrap_err();
    assert!(matches!(error, WalError::NotDurable { .. }), "{error}");
    let error = cursor.rewind(beyond).unwrap_err();
    assert!(matches!(error, WalError::BeyondEnd { .. }), "{error}");
    let error = log.cursor_from("audit", log.end_lsn()).unwrap_err();
    assert!(matches!(error, WalError::NotDurable { .. }), "{error}");
    log.sync_to(lsn).unwrap();
    let audit = log.cursor_from("audit", log.durable_lsn()).unwrap();
    let position = audit.position();
    drop(audit);
    let again = log.cursor_from("audit", Lsn::ZERO).unwrap();
    assert_eq!(
        again.position(),
        position,
        "one that there is stays where it is"
    );
    drop((cursor, again));
    for n in 2..256 {
        drop(log.cursor(format!("cursor {n}")).unwrap());
    }
    let error = log.cursor("one too many").unwrap_err();
    assert!(
        matches!(error, WalError::TooMany { most: 256, .. }),
        "{error}"
    );
    let sim = kill(&sim, log);
    assert_eq!(open(&sim).cursors().len(), 256);
}

/// The consumer is the one that makes room. It was locked out if its own position found none.
#[test]
fn a_consumer_makes_room_when_even_the_reserve_is_used_up() {
    let sim = SimDisk::new();
    let options = options(&sim).max_bytes(64 << 10);
    let log = Wal::open_with("/log", options.clone()).unwrap();
    let mut cursor = log.cursor("billing").unwrap();
    let reserve = AppendOptions::new().admission(Admission::Reserve);
    for size in [900, 1] {
        while log.append_with(&reserve, vec![0; size]).is_ok() {}
    }
    while log.append_control(highwater_wal::StreamId(0), "").is_ok() {}
    log.sync().unwrap();
    let position = log.durable_lsn();
    cursor.advance(position).unwrap();
    cursor.commit().unwrap();
    log.truncate_before(cursor.position()).unwrap();
    assert!(log.first_lsn() > Lsn::ZERO);
    let _lsn = log.append_sync("room again").unwrap();
    drop(cursor);
    let sim = kill(&sim, log);
    let log = Wal::open_with("/log", options.disk(disk(&sim))).unwrap();
    assert_eq!(log.cursor("billing").unwrap().position(), position);
}

/// The position is in the control file alone then: an older mark in the log must not count again.
#[test]
fn a_position_that_is_only_in_the_control_file_survives_a_power_cut() {
    let sim = SimDisk::new();
    let options = options(&sim).max_bytes(64 << 10);
    let log = Wal::open_with("/log", options.clone()).unwrap();
    let mut cursor = log.cursor("billing").unwrap();
    let _lsn = log.append_sync("a").unwrap();
    cursor.advance(log.durable_lsn()).unwrap();
    cursor.commit().unwrap();
    let reserve = AppendOptions::new().admission(Admission::Reserve);
    while log.append_with(&reserve, vec![0; 900]).is_ok() {}
    while log.append_control(highwater_wal::StreamId(0), "").is_ok() {}
    log.sync().unwrap();
    let position = log.durable_lsn();
    cursor.advance(position).unwrap();
    cursor.commit().unwrap();
    sim.cut_power_now();
    drop((cursor, log));
    for seed in 0..5 {
        let sim = sim.restart_after_power_cut(seed);
        let log = Wal::open_with("/log", options.clone().disk(disk(&sim))).unwrap();
        assert_eq!(log.cursors()[0].position, position, "seed {seed}");
    }
}

#[test]
fn repaired_salvaged_and_copied_logs_have_the_cursors() {
    for without_log in [false, true] {
        let sim = SimDisk::new();
        let log = open(&sim);
        let _lsn = log.append_sync("a").unwrap();
        let mut cursor = log.cursor("billing").unwrap();
        cursor.advance(log.durable_lsn()).unwrap();
        cursor.commit().unwrap();
        let _lsn = log.append_sync("b").unwrap();
        drop(cursor);
        log.close().unwrap();
        drop(log);
        let source = Log::open(disk(&sim), "/log").unwrap();
        source.copy_from(Lsn::ZERO, "/copied").unwrap();
        if without_log {
            sim.remove_file(Path::new("/log/LOG")).unwrap();
        }
        inspect::repair(&disk(&sim), "/log", "/repaired", |_| ()).unwrap();
        inspect::salvage(&disk(&sim), "/log", "/salvaged", |_| Ok(()), |_| ()).unwrap();
        for dir in ["/copied", "/repaired", "/salvaged"] {
            let log = Wal::open_with(dir, options(&sim)).unwrap();
            assert_eq!(contents(&log).len(), 2);
            let cursor = log.cursor("billing").unwrap();
            let next = cursor.read().unwrap().next().unwrap().unwrap();
            assert_eq!(&next.payload[..], b"b", "{dir}, {without_log}");
        }
    }
}

/// Consumers and producers of many threads: each consumer sees every record, in order, and after a
/// kill at any time none is missed.
#[test]
fn consumers_beside_producers_miss_nothing() {
    const RECORDS: usize = 2_000;
    let sim = SimDisk::new();
    let with_threads = options(&sim).background(Background::Thread);
    let log = Wal::open_with("/log", with_threads).unwrap();
    std::thread::scope(|threads| {
        for name in ["one", "two", "three"] {
            let mut cursor = log.cursor(name).unwrap();
            threads.spawn(move || {
                for (n, record) in cursor.tail().unwrap().take(RECORDS).enumerate() {
                    let record = record.unwrap();
                    assert_eq!(record.payload[..], u64::try_from(n).unwrap().to_le_bytes());
                    cursor.advance(record.next_lsn).unwrap();
                    if n % 100 == 0 {
                        cursor.commit().unwrap();
                    }
                }
            });
        }
        for n in 0..RECORDS as u64 {
            let lsn = log.append(n.to_le_bytes()).unwrap();
            if n % 7 == 0 {
                log.sync_to(lsn).unwrap();
                log.truncate_before(lsn).unwrap();
            }
        }
        log.sync().unwrap();
    });
    log.sync().unwrap();
    let end = log.durable_lsn();
    let positions: Vec<_> = log.cursors().iter().map(|info| info.position).collect();
    assert!(positions.iter().all(|at| *at <= end && *at == positions[0]));
}
