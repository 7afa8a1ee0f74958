//! Wall-clock time in the log: positions of times, and giving up what is too old.

use crate::saved_seeds;
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, ManualClock, SimDisk};
use highwater_wal::{Background, Lsn, Options, RoomWait, Wal, WritePath};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_hours(24);
/// The wall clock of the first opening.
const START: Duration = Duration::from_secs(1_800_000_000);

fn disk(sim: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(sim.clone())
}

fn options(sim: &SimDisk, clock: &Arc<ManualClock>) -> Options {
    Options::new()
        .segment_size(8 << 10)
        .min_segment_size(8 << 10)
        .write_path(WritePath::PageCache)
        .background(Background::Inline)
        .clock(Arc::clone(clock) as _)
        .log_id_seed(5)
        .disk(disk(sim))
}

fn clock_at(wall: Duration) -> Arc<ManualClock> {
    Arc::new(ManualClock::new(u64::try_from(wall.as_millis()).unwrap()))
}

fn at(since: Duration) -> SystemTime {
    UNIX_EPOCH + START + since
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A log of one record per minute.
fn per_minute(
    sim: &SimDisk,
    clock: &Arc<ManualClock>,
    options: Options,
    n: u64,
) -> (Wal, Vec<Lsn>) {
    let log = Wal::open_with("/log", options.disk(disk(sim))).unwrap();
    let mut lsns = Vec::new();
    for _ in 0..n {
        lsns.push(log.append_sync([0; 900]).unwrap());
        clock.advance(secs(60));
    }
    (log, lsns)
}

#[test]
fn a_time_has_a_position_and_a_position_a_time() {
    let (sim, clock) = (SimDisk::new(), clock_at(START));
    let (log, lsns) = per_minute(&sim, &clock, options(&sim, &clock), 30);
    assert!(log.stats().segments > 2);
    assert_eq!(log.lsn_at(at(Duration::ZERO)).unwrap(), log.first_lsn());
    assert_eq!(log.lsn_at(UNIX_EPOCH).unwrap(), log.first_lsn());
    for (n, lsn) in (0..29).zip(&lsns) {
        // It became durable at minute n.
        assert_eq!(log.time_of(*lsn).unwrap(), Some(at(secs(60 * n))));
        let next = log.lsn_at(at(secs(60 * n + 1))).unwrap();
        assert!(
            *lsn < next && next <= lsns[usize::try_from(n).unwrap() + 1],
            "{n}"
        );
        let since = log.read_since(at(secs(60 * n))).unwrap();
        let since: Vec<Lsn> = since.map(|r| r.unwrap().lsn).collect();
        assert!(since.contains(lsn) && since.len() <= 31 - usize::try_from(n).unwrap());
    }
    assert_eq!(
        log.time_of(lsns[29]).unwrap(),
        None,
        "the next group will say it"
    );
    assert_eq!(
        log.lsn_at(at(DAY)).unwrap(),
        log.lsn_at(at(secs(60 * 29))).unwrap()
    );
}

/// What a program does with the log and the clock.
#[derive(Debug, Clone)]
enum Op {
    Append {
        sync: bool,
    },
    Wait(Duration),
    /// The wall clock is set; the log is opened again, or goes on.
    SetWall {
        days: i64,
        reopen: bool,
    },
    /// Times on or off.
    Reopen {
        timestamps: bool,
    },
    Truncate,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => any::<bool>().prop_map(|sync| Op::Append { sync }),
        4 => (0..100_000_u64).prop_map(|ms| Op::Wait(Duration::from_millis(ms))),
        1 => (-3..3_i64, any::<bool>()).prop_map(|(days, reopen)| Op::SetWall { days, reopen }),
        1 => prop::bool::weighted(0.7).prop_map(|timestamps| Op::Reopen { timestamps }),
        1 => Just(Op::Truncate),
    ]
}

proptest! {
    #![proptest_config(saved_seeds::config(64, env!("CARGO_MANIFEST_DIR"), "times"))]

    /// F48: whatever the clocks do, `read_since` leaves out no record that became durable at the
    /// time or later by the log's clock, and `lsn_at` has nothing below it that did.
    #[test]
    fn no_record_is_left_out(program in proptest::collection::vec(op(), 1..80)) {
        let (sim, clock) = (SimDisk::new(), clock_at(START));
        let mut log = Wal::open_with("/log", options(&sim, &clock)).unwrap();
        // The log's time: the greatest that it can be by the rules, in milliseconds.
        let mut anchor = (u64::try_from(START.as_millis()).unwrap(), Duration::ZERO);
        let mut floor = 0;
        let mut unsynced = Vec::new();
        let mut durable: Vec<(Lsn, u64)> = Vec::new();
        // What becomes durable while times are off has the time of the next opening.
        let mut is_timed = true;
        use highwater_wal::disk::Clock;
        for op in program {
            let now = anchor.0 + u64::try_from((clock.now() - anchor.1).as_millis()).unwrap();
            match op {
                Op::Append { sync } => {
                    unsynced.push(log.append([0; 700]).unwrap());
                    if sync {
                        log.sync().unwrap();
                        durable.extend(unsynced.drain(..).filter(|_| is_timed).map(|lsn| (lsn, now)));
                        floor = if is_timed { now } else { floor };
                    }
                }
                Op::Wait(time) => clock.advance(time),
                Op::Truncate => log.truncate_before(log.durable_lsn()).unwrap(),
                Op::SetWall { .. } | Op::Reopen { .. } => {
                    let (reopen, timestamps) = match op {
                        Op::Reopen { timestamps } => (true, timestamps),
                        Op::SetWall { reopen, .. } => (reopen, true),
                        _ => unreachable!(),
                    };
                    if let Op::SetWall { days, .. } = op {
                        let wall = clock.wall_ms().saturating_add_signed(days * 86_400_000);
                        clock.set_wall_ms(wall);
                    }
                    if reopen {
                        log.close().unwrap();
                        durable.extend(unsynced.drain(..).filter(|_| is_timed).map(|lsn| (lsn, now)));
                        floor = if is_timed { now } else { floor };
                        is_timed = timestamps;
                        drop(log);
                        let options = options(&sim, &clock).timestamps(timestamps);
                        log = Wal::open_with("/log", options).unwrap();
                        anchor = (clock.wall_ms().max(floor), clock.now());
                    }
                }
            }
        }
        log.sync().unwrap();
        let now = anchor.0 + u64::try_from((clock.now() - anchor.1).as_millis()).unwrap();
        durable.extend(unsynced.drain(..).filter(|_| is_timed).map(|lsn| (lsn, now)));
        let first = log.first_lsn();
        durable.retain(|(lsn, _)| *lsn >= first);
        let times: Vec<u64> = durable.iter().map(|(_, time)| *time).collect();
        for ms in times.iter().flat_map(|time| [time.saturating_sub(1), *time, time + 1]) {
            let time = UNIX_EPOCH + Duration::from_millis(ms);
            let position = log.lsn_at(time).unwrap();
            let since = log.read_since(time).unwrap();
            let since: Vec<Lsn> = since.map(|r| r.unwrap().lsn).collect();
            for (lsn, durable_at) in &durable {
                if *durable_at >= ms {
                    prop_assert!(*lsn >= position, "{lsn} was durable at {durable_at}, {position} is that of {ms}");
                    prop_assert!(since.contains(lsn));
                }
            }
        }
    }
}

#[test]
fn what_is_too_old_is_given_up() {
    let (sim, clock) = (SimDisk::new(), clock_at(START));
    let options = options(&sim, &clock).retain_for(secs(600));
    let (log, lsns) = per_minute(&sim, &clock, options, 60);
    log.apply_retention().unwrap();
    assert!(log.first_lsn() > lsns[30], "a segment holds eight");
    assert!(log.first_lsn() <= lsns[49], "ten minutes are kept");
    let guard = log.retain(log.first_lsn()).unwrap();
    clock.advance(secs(3_600));
    log.apply_retention().unwrap();
    assert_eq!(log.first_lsn(), guard.lsn());
    drop(guard);
    log.apply_retention().unwrap();
    assert!(log.first_lsn() > lsns[49], "all but the segment in use");
}

#[test]
fn what_is_too_much_is_given_up() {
    let (sim, clock) = (SimDisk::new(), clock_at(START));
    let options = options(&sim, &clock).retain_bytes(20 << 10);
    let (log, _) = per_minute(&sim, &clock, options, 60);
    log.apply_retention().unwrap();
    let kept = log.durable_lsn().bytes_since(log.first_lsn());
    assert!((20 << 10..=28 << 10).contains(&kept), "{kept}");
}

/// Threads do it by themselves, when a segment is begun.
#[test]
fn a_log_with_threads_gives_up_by_itself() {
    for background in [Background::Thread, Background::Shared] {
        let (sim, clock) = (SimDisk::new(), clock_at(START));
        let options = options(&sim, &clock)
            .retain_bytes(20 << 10)
            .background(background);
        let log = Wal::open_with("/log", options).unwrap();
        let mut appended = 0;
        while log.first_lsn() == Lsn::ZERO {
            let _lsn = log.append_sync([0; 900]).unwrap();
            appended += 1;
            assert!(appended < 50_000, "{background:?}");
        }
        log.close().unwrap();
    }
}

/// Nothing but the policy truncates: a producer at the bound waits for it, and is woken. At the
/// bound no segment is begun, so the wait itself must call for it: it took a minute.
#[test]
fn what_the_policy_frees_makes_room() {
    let sim = SimDisk::new();
    let options = Options::new()
        .segment_size(8 << 10)
        .max_bytes(64 << 10)
        .retain_bytes(8 << 10)
        .write_path(WritePath::PageCache)
        .disk(disk(&sim));
    let log = Wal::open_with("/log", options).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    // A producer that is not woken waits for ever: not in this thread.
    let producer = std::thread::spawn(move || {
        let mut waits = 0;
        for _ in 0..2_000 {
            while let Err(error) = log.append([0; 900]) {
                assert!(error.is_no_space(), "{error}");
                log.sync().unwrap();
                log.wait_for_room().unwrap();
                waits += 1;
            }
        }
        done.send(waits).unwrap();
    });
    let waits: u32 = is_done
        .recv_timeout(secs(50))
        .expect("the producer was woken");
    assert!(waits > 0, "the bound was never met");
    producer.join().unwrap();
}

/// What kept the log may go while a producer waits: it waited for up to a minute after that.
#[test]
fn a_waiting_producer_gets_room_when_what_kept_the_log_is_gone() {
    let sim = SimDisk::new();
    let options = Options::new()
        .segment_size(8 << 10)
        .max_bytes(64 << 10)
        .retain_bytes(8 << 10)
        .disk(disk(&sim));
    let log = Arc::new(Wal::open_with("/log", options).unwrap());
    let guard = log.retain_as(Lsn::ZERO, "a slow consumer").unwrap();
    while log.append([0; 900]).is_ok() {}
    log.sync().unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    let producer = std::thread::spawn({
        let log = Arc::clone(&log);
        move || done.send(log.wait_for_room()).unwrap()
    });
    // Long enough for the wait to have begun, and for the policy to have been tried in vain.
    let waits = || log.wait_for_room_timeout(secs(2)).unwrap();
    assert_eq!(waits(), RoomWait::TimedOut);
    drop(guard);
    let room = is_done.recv_timeout(secs(50)).expect("it was woken");
    room.unwrap();
    producer.join().unwrap();
}

/// F21: a disk so full that `LOG` cannot name the feature. A version that does not know times would
/// take the log for one of its own, and stop at the first of them.
#[test]
fn no_time_is_written_before_the_control_file_names_the_feature() {
    let (sim, clock) = (SimDisk::new(), clock_at(START));
    let options = options(&sim, &clock);
    let (log, _) = per_minute(&sim, &clock, options.clone().timestamps(false), 3);
    let sim = sim.kill_process();
    drop(log);
    sim.fail(
        Fault::new(Call::Write, FaultKind::Enospc)
            .on("LOG.tmp")
            .forever(),
    );
    let (log, lsns) = per_minute(&sim, &clock, options.clone(), 3);
    let says = || String::from_utf8(sim.read_file("/log/LOG").unwrap()).unwrap();
    assert!(!says().contains("\"time\""), "{}", says());
    assert_eq!(log.time_of(lsns[0]).unwrap(), None);
    sim.clear_faults();
    log.close().unwrap();
    drop(log);
    let log = Wal::open_with("/log", options.disk(disk(&sim))).unwrap();
    assert!(says().contains("\"time\""), "{}", says());
    let _one = log.append_sync("one").unwrap();
    let _two = log.append_sync("two").unwrap();
    assert!(log.time_of(lsns[0]).unwrap().is_some());
}

/// F48: a clock that is ten years ahead would have deleted everything.
#[test]
fn a_clock_that_jumps_deletes_nothing() {
    let (sim, clock) = (SimDisk::new(), clock_at(START));
    let with_age = |clock| options(&sim, clock).retain_for(DAY);
    let (log, _) = per_minute(&sim, &clock, with_age(&clock), 60);
    log.close().unwrap();
    drop(log);
    let ahead = clock_at(START + 3_650 * DAY);
    let log = Wal::open_with("/log", with_age(&ahead)).unwrap();
    log.apply_retention().unwrap();
    assert_eq!(log.first_lsn(), Lsn::ZERO);
    // While it is open, too.
    ahead.set_wall_ms(u64::try_from(START.as_millis()).unwrap());
    ahead.advance(2 * DAY);
    log.apply_retention().unwrap();
    assert_eq!(log.first_lsn(), Lsn::ZERO);
    // A day after the opening, and the clock is as expected: that is the time now.
    ahead.set_wall_ms(u64::try_from((START + 3_652 * DAY).as_millis()).unwrap());
    let _lsn = log.append_sync("goes on").unwrap();
    log.apply_retention().unwrap();
    assert!(log.first_lsn() > Lsn::ZERO);
}

/// A log of an earlier version has none; it gets them from its next opening on.
#[test]
fn a_log_without_times_is_read_from_its_start() {
    let (sim, clock) = (SimDisk::new(), clock_at(START));
    let options = options(&sim, &clock);
    let (log, lsns) = per_minute(&sim, &clock, options.clone().timestamps(false), 20);
    assert_eq!(log.lsn_at(at(secs(600))).unwrap(), Lsn::ZERO);
    assert_eq!(log.time_of(lsns[3]).unwrap(), None);
    log.close().unwrap();
    let says = || String::from_utf8(sim.read_file(Path::new("/log/LOG")).unwrap()).unwrap();
    assert!(says().contains("\"format_version\":1"), "{}", says());
    drop(log);
    let log = Wal::open_with("/log", options).unwrap();
    assert!(
        says().contains("\"time\""),
        "before the first frame with a time"
    );
    let lsn = log.append_sync("with a time").unwrap();
    let _next = log.append_sync("the next").unwrap();
    assert!(log.time_of(lsn).unwrap().is_some());
    assert_eq!(
        log.time_of(lsns[3]).unwrap(),
        log.time_of(lsn).unwrap(),
        "not later, at least"
    );
}
