//! The reserve of a log at its bound: the program that frees it gets room, producers wait for it.

use crate::common::executor::block_on;
use crate::common::model::PATHS;
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::{
    Admission, AppendOptions, Background, Lsn, Options, RoomWait, StreamId, Wal, WalError,
    WritePath,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const SEGMENT: u64 = 8 << 10;
const ACKS: StreamId = StreamId(2);

fn bounded(sim: &SimDisk, segments: u64) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    Options::new()
        .segment_size(SEGMENT)
        .background(Background::Inline)
        .log_id_seed(1)
        .max_bytes(segments * SEGMENT)
        .disk(disk)
}

/// Appends and syncs ordinary records until not even an empty one gets in.
fn fill(log: &Wal) -> WalError {
    while let Ok(lsn) = log.append([7; 900]) {
        log.sync_to(lsn).unwrap();
    }
    loop {
        if let Err(error) = log.append("") {
            log.sync().unwrap();
            return error;
        }
    }
}

/// Uses up the reserve.
fn fill_reserve(log: &Wal) -> WalError {
    loop {
        match log.append_control(ACKS, [8; 100]) {
            Ok(lsn) => log.sync_to(lsn).unwrap(),
            Err(error) => return error,
        }
    }
}

fn bytes_on_disk(sim: &SimDisk) -> u64 {
    let files = sim.files().into_iter();
    let segments = files.filter(|path| path.to_string_lossy().contains(".wal"));
    segments
        // One may get another name meanwhile.
        .filter_map(|path| Some(sim.read_file(path)?.len() as u64))
        .sum()
}

fn is_full(error: &WalError) -> bool {
    matches!(error, WalError::LogFull { .. })
}

/// At the bound the record that would have freed the log was refused like any other, for ever.
#[test]
fn control_records_and_acknowledgements_get_in_at_the_bound() {
    for path in PATHS {
        for background in [Background::Inline, Background::Thread] {
            let sim = SimDisk::new();
            let options = bounded(&sim, 5).write_path(path).background(background);
            let log = Wal::open_with("/log", options).unwrap();
            assert!(is_full(&fill(&log)));
            let acknowledgement = AppendOptions::new()
                .stream(ACKS)
                .admission(Admission::Reserve);
            let _ = log.append_with(&acknowledgement, "done up to 7").unwrap();
            let lsn = log.append_control(ACKS, "done up to 8").unwrap();
            log.sync_to(lsn).unwrap();
            assert!(is_full(&log.append("a job").unwrap_err()), "not for others");
            assert!(is_full(&log.append_batch(["a job"]).unwrap_err()));
            let ordinary = AppendOptions::new().stream(ACKS);
            assert!(is_full(&log.append_with(&ordinary, "x").unwrap_err()));
            assert!(bytes_on_disk(&sim) <= 5 * SEGMENT);
            log.truncate_before(lsn).unwrap();
            let _ = log.append("a job").unwrap();
            log.close().unwrap();
        }
    }
}

/// The reserve is bounded too, and what is in the way has a name.
#[test]
fn a_reserve_that_is_used_up_names_the_pin_and_truncating_needs_no_room() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", bounded(&sim, 5)).unwrap();
    let first = log.append("first").unwrap();
    log.sync_to(first).unwrap();
    let slow = log.retain_as(first, "the slow consumer").unwrap();
    fill(&log);
    let WalError::LogFull { reserved_bytes, .. } = fill(&log) else {
        panic!("full")
    };
    assert_eq!(reserved_bytes, SEGMENT);
    log.truncate_before(log.durable_lsn()).unwrap();
    let error = fill_reserve(&log);
    let WalError::LogFull {
        used_bytes,
        reserved_bytes,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((*used_bytes, *reserved_bytes), (5 * SEGMENT, 0));
    let text = error.to_string();
    for part in [
        "the reserve for control records is in use",
        "the slow consumer keeps everything from LSN",
        "Truncate it or raise",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(bytes_on_disk(&sim) <= 5 * SEGMENT);
    drop(slow);
    log.truncate_before(log.durable_lsn()).unwrap();
    let _ = log.append_control(ACKS, "x").unwrap();
    let _ = log.append("y").unwrap();
    log.close().unwrap();
}

/// The whole reserve is there each time the log fills up, however often.
#[test]
fn the_reserve_is_whole_again_after_each_truncation() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", bounded(&sim, 5)).unwrap();
    for round in 0..20 {
        assert!(is_full(&fill(&log)));
        for _ in 0..16 {
            // With the durable-LSN record of its group each takes 144 bytes.
            let lsn = log.append_control(ACKS, [8; 100]).unwrap();
            log.sync_to(lsn).unwrap();
        }
        assert!(is_full(&log.append("x").unwrap_err()), "round {round}");
        log.truncate_before(log.durable_lsn()).unwrap();
        assert_eq!(
            log.wait_for_room_timeout(Duration::ZERO).unwrap(),
            RoomWait::Room
        );
    }
    assert!(bytes_on_disk(&sim) <= 5 * SEGMENT);
}

/// Marks of clean ends and first durable-LSN records of a log that is opened and closed at its
/// bound must not use up the reserve.
#[test]
fn opening_and_closing_at_the_bound_leaves_half_of_the_reserve() {
    for path in PATHS {
        let sim = SimDisk::new();
        let options = || bounded(&sim, 5).write_path(path);
        let log = Wal::open_with("/log", options()).unwrap();
        fill(&log);
        let lsn = log.append_control(ACKS, "x").unwrap();
        log.sync_to(lsn).unwrap();
        drop(log);
        let mut unmarked = 0;
        for _ in 0..400 {
            let log = Wal::open_with("/log", options()).unwrap();
            assert!(is_full(&log.append("x").unwrap_err()));
            if let Err(error) = log.close() {
                assert!(error.is_no_space(), "{error}");
                unmarked += 1;
            }
        }
        assert!(unmarked > 200, "the mark gave way: {unmarked}");
        assert_eq!(bytes_on_disk(&sim), 5 * SEGMENT);
        let log = Wal::open_with("/log", options()).unwrap();
        for _ in 0..10 {
            let lsn = log.append_control(ACKS, [8; 100]).unwrap();
            log.sync_to(lsn).unwrap();
        }
        assert!(bytes_on_disk(&sim) <= 5 * SEGMENT, "in the segment in use");
        log.truncate_before(log.durable_lsn()).unwrap();
        let _ = log.append("y").unwrap();
        log.close().unwrap();
    }
}

/// A log whose bound was lowered, or that a version without reserve has filled, takes one segment
/// more, and never a second one.
#[test]
fn a_log_opened_without_room_for_the_reserve_gets_one_segment_more() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", bounded(&sim, 7)).unwrap();
    fill(&log);
    drop(log);
    assert!(bytes_on_disk(&sim) <= 7 * SEGMENT);
    for round in 0..3 {
        let log = Wal::open_with("/log", bounded(&sim, 6)).unwrap();
        assert!(is_full(&log.append("x").unwrap_err()));
        let appended = log.append_control(ACKS, "x");
        assert!(appended.is_ok() || round > 0);
        fill_reserve(&log);
        assert_eq!(bytes_on_disk(&sim), 7 * SEGMENT);
        assert!(log.close().is_err());
    }
    let log = Wal::open_with("/log", bounded(&sim, 6)).unwrap();
    log.truncate_before(log.durable_lsn()).unwrap();
    fill(&log);
    let _ = log.append_control(ACKS, "x").unwrap();
}

/// A truncated file that could not be removed counted for ever, unless a later truncation freed
/// another one.
#[test]
fn files_that_could_not_be_removed_are_tried_again_at_each_truncation() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", bounded(&sim, 12)).unwrap();
    fill(&log);
    sim.fail(Fault::new(Call::Remove, FaultKind::Eio).forever());
    log.truncate_before(log.durable_lsn()).unwrap();
    sim.clear_faults();
    let before = log.stats().disk_bytes;
    log.truncate_before(log.durable_lsn()).unwrap();
    assert!(log.stats().disk_bytes < before);
    assert_eq!(log.stats().disk_bytes, bytes_on_disk(&sim));
}

#[test]
fn a_log_without_a_bound_has_room() {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim);
    let log = Wal::open_with("/log", Options::new().segment_size(SEGMENT).disk(disk)).unwrap();
    log.wait_for_room().unwrap();
    block_on(log.room()).unwrap();
    let long = log.wait_for_room_timeout(Duration::MAX).unwrap();
    assert_eq!(long, RoomWait::Room);
}

#[test]
fn waiting_for_room_ends_in_time() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", bounded(&sim, 5)).unwrap();
    fill(&log);
    for timeout in [Duration::ZERO, Duration::from_millis(1)] {
        assert_eq!(
            log.wait_for_room_timeout(timeout).unwrap(),
            RoomWait::TimedOut
        );
    }
}

/// So that a test that fails ends.
struct CloseOnPanic<'a>(&'a Wal);

impl Drop for CloseOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.close();
        }
    }
}

/// Four producers that wait for room in threads and tasks, one consumer that acknowledges by
/// record: every job is done, and the consumer is never refused.
#[test]
fn producers_wait_for_room_that_the_consumer_makes() {
    for path in PATHS {
        let sim = SimDisk::new();
        let options = bounded(&sim, 5).write_path(path);
        let log = Wal::open_with("/log", options.background(Background::Thread)).unwrap();
        let (jobs, waits) = (400_usize, AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for producer in 0..4 {
                let (log, waits) = (&log, &waits);
                scope.spawn(move || {
                    for _ in 0..jobs / 4 {
                        while let Err(error) = log.append([producer; 700]) {
                            assert!(is_full(&error), "{error}");
                            waits.fetch_add(1, Ordering::Relaxed);
                            match producer % 2 {
                                0 => log.wait_for_room().unwrap(),
                                _ => block_on(log.room()).unwrap(),
                            }
                        }
                        log.sync().unwrap();
                    }
                });
            }
            let _ends_waits = CloseOnPanic(&log);
            let mut done = 0;
            for record in log.tail(Lsn::ZERO).unwrap().only(StreamId::DEFAULT) {
                let lsn = record.unwrap().lsn;
                done += 1;
                if done == 1 {
                    // The producers fill the log first.
                    while waits.load(Ordering::Relaxed) == 0 {
                        std::thread::yield_now();
                    }
                }
                if done % 4 == 0 {
                    let acked = log.append_control(ACKS, lsn.get().to_le_bytes()).unwrap();
                    log.sync_to(acked).unwrap();
                    log.truncate_before(lsn).unwrap();
                    assert!(bytes_on_disk(&sim) <= 5 * SEGMENT);
                }
                if done == jobs {
                    break;
                }
            }
        });
        assert!(waits.load(Ordering::Relaxed) > 0);
        log.close().unwrap();
    }
}

/// Closing and poison end every wait, of threads and of tasks, with their error.
#[test]
fn waiting_for_room_ends_when_no_room_will_come() {
    for how in ["close", "poison"] {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", bounded(&sim, 5)).unwrap();
        fill(&log);
        let started = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                started.wait();
                log.wait_for_room()
            });
            let task = scope.spawn(|| {
                let future = log.room();
                started.wait();
                block_on(future)
            });
            started.wait();
            match how {
                "close" => log.close().unwrap(),
                _ => {
                    let lsn = log.append_control(ACKS, "x").unwrap();
                    sim.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
                    log.sync_to(lsn).unwrap_err();
                }
            }
            for ended in [thread.join().unwrap(), task.join().unwrap()] {
                let error = ended.unwrap_err();
                assert_eq!(matches!(error, WalError::Closed { .. }), how == "close");
                assert_eq!(matches!(error, WalError::Poisoned { .. }), how == "poison");
            }
        });
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A future that is dropped leaves nothing; one that is polled twice is woken once.
#[test]
fn waiting_for_room_can_be_given_up() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", bounded(&sim, 5)).unwrap();
    fill(&log);
    let poll = |future: &mut highwater_wal::RoomFuture, counting: &Arc<Counting>| {
        let waker = Waker::from(Arc::clone(counting));
        std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker))
    };
    let (given_up, kept) = (Arc::<Counting>::default(), Arc::<Counting>::default());
    let mut first = log.room();
    let mut second = log.room();
    assert!(poll(&mut first, &given_up).is_pending());
    assert!(poll(&mut second, &kept).is_pending());
    assert!(poll(&mut second, &kept).is_pending());
    drop(first);
    assert_eq!(Arc::strong_count(&given_up), 1, "its waker is gone");
    // Nothing is freed: woken or not, there is no room.
    log.truncate_before(Lsn::ZERO).unwrap();
    assert!(poll(&mut second, &kept).is_pending());
    log.truncate_before(log.durable_lsn()).unwrap();
    assert!(kept.0.load(Ordering::Relaxed) >= 1);
    assert_eq!(given_up.0.load(Ordering::Relaxed), 0);
    assert!(matches!(poll(&mut second, &kept), Poll::Ready(Ok(()))));
}

/// Threads that append at the moment at which the reserve becomes the segment in use never get into
/// it.
#[test]
fn no_ordinary_record_is_in_the_reserve() {
    for path in PATHS {
        for _ in 0..20 {
            let sim = SimDisk::new();
            let log = Wal::open_with("/log", bounded(&sim, 4).write_path(path)).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| while log.append([7; 500]).is_ok() {});
                }
                scope.spawn(|| {
                    for _ in 0..40 {
                        let _ = log.append_control(ACKS, [8; 300]);
                    }
                });
            });
            log.sync().unwrap();
            let reserve = Lsn::new(3 * SEGMENT);
            for record in log.read_from(Lsn::ZERO).unwrap() {
                let record = record.unwrap();
                assert!(record.lsn < reserve || record.stream == ACKS, "{record:?}");
            }
            assert!(bytes_on_disk(&sim) <= 4 * SEGMENT);
        }
    }
}

/// With groups sealed a segment holds few of them, and the reserve too: but enough.
#[test]
fn a_log_with_sealed_groups_is_not_locked_out() {
    let sim = SimDisk::new();
    let options = bounded(&sim, 1)
        .segment_size(16 << 10)
        .max_bytes(4 * (16 << 10))
        .seal_groups(4096);
    let log = Wal::open_with("/log", options.write_path(WritePath::Direct)).unwrap();
    for _ in 0..10 {
        fill(&log);
        let lsn = log.append_control(ACKS, "x").unwrap();
        log.sync_to(lsn).unwrap();
        log.truncate_before(lsn).unwrap();
    }
    assert!(bytes_on_disk(&sim) <= 4 * (16 << 10));
}
