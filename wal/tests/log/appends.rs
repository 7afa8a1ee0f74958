//! The ways to append: what they leave in the log, and which of them wait.

use crate::common::executor::block_on;
use crate::common::{contents, options};
use crate::saved_seeds;
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Clock, Disk, Notify, OsClock, SimDisk, WaitResult};
use highwater_wal::{
    Admission, AppendOptions, Background, Durability, Lsn, Options, RecordKind, StreamId, Wal,
    WalError, WritePath,
};
use parking_lot::{Condvar, Mutex};
use proptest::prelude::*;
use std::future::Future;
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

const PATHS: [WritePath; 2] = [WritePath::PageCache, WritePath::Direct];

fn on(sim: &SimDisk) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    options().disk(disk)
}

/// Every call leaves what its name says: bytes, stream, kind, and what was waited for.
#[test]
fn every_call_leaves_a_record() {
    for path in PATHS {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", on(&sim).write_path(path)).unwrap();
        let durable = |lsn: Lsn| log.durable_lsn() > lsn;
        assert!(!durable(log.append("append").unwrap()));
        assert!(!durable(log.append_to(StreamId(1), "append_to").unwrap()));
        assert!(durable(log.append_sync("append_sync").unwrap()));
        assert!(!durable(log.try_append("try_append").unwrap()));
        assert!(!durable(
            block_on(log.append_async("append_async")).unwrap()
        ));
        let at = |durability| {
            AppendOptions::new()
                .stream(StreamId(2))
                .durability(durability)
        };
        assert!(!durable(
            log.append_with(&at(Durability::Os), "with").unwrap()
        ));
        assert!(durable(
            log.append_with(&at(Durability::Sync), "with").unwrap()
        ));
        let pieces = [
            IoSlice::new(b"append"),
            IoSlice::new(b""),
            IoSlice::new(b"_vectored"),
        ];
        assert!(!durable(log.append_vectored(&pieces).unwrap()));
        let filled = log.append_fill(11, |bytes| {
            assert_eq!(bytes, [0; 11]);
            bytes[..6].copy_from_slice(b"append");
        });
        assert!(!durable(filled.unwrap()));
        assert!(!durable(log.append_batch(["a", "batch"]).unwrap().first));
        let batch = log.append_batch_to(StreamId(3), (0..3).map(|n| vec![b'0' + n; 2]));
        assert!(!durable(batch.unwrap().first));
        let batch = log.append_batch_with(&at(Durability::Os), ["os"]).unwrap();
        assert!(!durable(batch.first));
        let batch = log
            .append_batch_with(&at(Durability::Sync), ["sync"])
            .unwrap();
        assert_eq!(log.durable_lsn(), batch.end);
        log.sync_to(log.append_control(StreamId(4), "control").unwrap())
            .unwrap();
        let kind = |kind| match kind {
            RecordKind::Control => "control",
            _ => "data",
        };
        let shown: Vec<_> = log
            .read_from(Lsn::ZERO)
            .unwrap()
            .map(Result::unwrap)
            .map(|r| {
                (
                    String::from_utf8(r.payload.to_vec()).unwrap(),
                    r.stream.0,
                    kind(r.kind),
                )
            })
            .collect();
        let expected = [
            ("append", 0, "data"),
            ("append_to", 1, "data"),
            ("append_sync", 0, "data"),
            ("try_append", 0, "data"),
            ("append_async", 0, "data"),
            ("with", 2, "data"),
            ("with", 2, "data"),
            ("append_vectored", 0, "data"),
            ("append\0\0\0\0\0", 0, "data"),
            ("a", 0, "data"),
            ("batch", 0, "data"),
            ("00", 3, "data"),
            ("11", 3, "data"),
            ("22", 3, "data"),
            ("os", 2, "data"),
            ("sync", 2, "data"),
            ("control", 4, "control"),
        ];
        let expected = expected.map(|(bytes, stream, kind)| (bytes.to_owned(), stream, kind));
        assert_eq!(shown, expected);
        assert_eq!(log.stats().records, expected.len() as u64);
    }
}

proptest! {
    #![proptest_config(saved_seeds::config(64, env!("CARGO_MANIFEST_DIR"), "appends"))]

    /// However the bytes of records come, the log holds the same bytes: frame by frame, and in the
    /// file.
    #[test]
    fn pieces_and_closures_write_what_a_slice_writes(
        records in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..5), 1..60),
    ) {
        let write = |how: usize| {
            let sim = SimDisk::new();
            let options = on(&sim).background(Background::Inline).timestamps(false);
            let log = Wal::open_with("/log", options).unwrap();
            for pieces in &records {
                let whole = pieces.concat();
                let lsn = match how {
                    0 => log.append(&whole),
                    1 => log.append_vectored(&pieces.iter().map(|p| IoSlice::new(p)).collect::<Vec<_>>()),
                    2 => log.append_fill(whole.len(), |bytes| bytes.copy_from_slice(&whole)),
                    3 => log.try_append(&whole),
                    _ => block_on(log.append_async(&whole)),
                };
                let _lsn = lsn.unwrap();
            }
            log.close().unwrap();
            sim.files().into_iter().filter(|p| p.extension().is_some_and(|e| e == "wal"))
                .map(|path| (path.clone(), sim.read_file(path))).collect::<Vec<_>>()
        };
        let slices = write(0);
        for how in 1..5 {
            prop_assert_eq!(&write(how), &slices, "{}", how);
        }
    }
}

/// A closure that panics leaves padding: the log goes on, also after a power cut.
#[test]
fn a_closure_that_panics_appends_nothing_and_harms_nothing() {
    for path in PATHS {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", on(&sim).write_path(path)).unwrap();
        let mut expected = Vec::new();
        // Through several segments, and at their ends.
        for n in 0..100_u8 {
            let fill = |bytes: &mut [u8]| {
                bytes.fill(n);
                assert!(n % 3 != 1, "on purpose");
            };
            let len = usize::from(n) * 7;
            let appended = catch_unwind(AssertUnwindSafe(|| log.append_fill(len, fill)));
            assert_eq!(appended.is_err(), n % 3 == 1);
            if let Ok(appended) = appended {
                let _lsn = appended.unwrap();
                expected.push(vec![n; len]);
            }
        }
        assert_eq!(log.stats().records, expected.len() as u64);
        log.sync().unwrap();
        assert_eq!(contents(&log), expected);
        sim.cut_power_now();
        drop(log);
        for seed in saved_seeds::seeds(0..10) {
            let sim = sim.restart_after_power_cut(seed);
            let log = Wal::open_with("/log", on(&sim).write_path(path)).unwrap();
            assert_eq!(contents(&log), expected);
            let _lsn = log.append_sync("more").unwrap();
        }
    }
}

#[test]
fn what_is_too_long_is_refused_by_each_call_and_nothing_is_called() {
    let sim = SimDisk::new();
    let log = Wal::open_with("/log", on(&sim).max_record_bytes(100)).unwrap();
    let long = [7; 101];
    let refused = |outcome: Result<Lsn, WalError>| {
        let error = outcome.unwrap_err();
        assert!(
            matches!(
                error,
                WalError::RecordTooLarge {
                    size: 101,
                    max: 100,
                    ..
                }
            ),
            "{error}"
        );
    };
    refused(log.append(long));
    refused(log.append_sync(long));
    refused(log.try_append(long));
    refused(block_on(log.append_async(long)));
    refused(log.append_with(&AppendOptions::new(), long));
    refused(log.append_vectored(&[IoSlice::new(&long[..60]), IoSlice::new(&long[60..])]));
    refused(log.append_fill(101, |_| panic!("it is not called")));
    let batch = log.append_batch(long.chunks(93)).unwrap_err();
    assert!(
        matches!(batch, WalError::RecordTooLarge { size: 113, .. }),
        "{batch}"
    );
    log.sync().unwrap();
    assert_eq!(contents(&log).len(), 0);
    let fits = log.append_fill(100, |bytes| bytes.fill(1));
    log.sync_to(fits.unwrap()).unwrap();
}

/// The thread that makes segments stands still when it looks at this clock, if it is told to.
#[derive(Debug, Default)]
struct Stalling {
    os: OsClock,
    stalls: Mutex<bool>,
    changed: Condvar,
}

impl Stalling {
    fn stall(&self, stalls: bool) {
        *self.stalls.lock() = stalls;
        self.changed.notify_all();
    }
}

impl Clock for Stalling {
    fn now(&self) -> Duration {
        if std::thread::current().name() == Some("highwater-wal-maintenance") {
            let mut stalls = self.stalls.lock();
            while *stalls {
                self.changed.wait(&mut stalls);
            }
        }
        self.os.now()
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn wait(&self, alarm: &Arc<Notify>, deadline: Option<Duration>) -> WaitResult {
        self.os.wait(alarm, deadline)
    }
}

/// Counts how often it is woken.
#[derive(Debug, Default)]
struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A log whose maker of segments stands still, and which has no room left for a record of a KiB.
fn stalled(sim: &SimDisk, clock: &Arc<Stalling>, path: WritePath) -> (Wal, u64) {
    clock.stall(true);
    let shared = Arc::<Stalling>::clone(clock);
    let options = on(sim)
        .background(Background::Thread)
        .clock(shared)
        .write_path(path);
    let log = Wal::open_with("/log", options).unwrap();
    let mut appended = 0;
    loop {
        match log.try_append([7; 1000]) {
            Ok(_) => appended += 1,
            Err(WalError::WouldWait { what }) => {
                assert!(what.contains("the next one is not ready"), "{what}");
                return (log, appended);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Neither call waits for a thread that does not come; when it comes, they are told.
#[test]
fn where_an_append_would_wait_the_others_say_so_and_are_woken() {
    for path in PATHS {
        let (sim, clock) = (SimDisk::new(), Arc::new(Stalling::default()));
        let (log, before) = stalled(&sim, &clock, path);
        assert!(before > 10, "{before}");
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let mut context = Context::from_waker(&waker);
        let mut first = pin!(log.append_async([1; 1000]));
        let dropped = Box::pin(log.append_async([2; 1000]));
        let mut dropped = dropped;
        for _ in 0..3 {
            assert!(first.as_mut().poll(&mut context).is_pending());
            assert!(dropped.as_mut().poll(&mut context).is_pending());
            assert!(matches!(
                log.try_append([3; 1000]),
                Err(WalError::WouldWait { .. })
            ));
        }
        drop(dropped);
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        clock.stall(false);
        let lsn = loop {
            while woken.0.swap(0, Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            if let Poll::Ready(lsn) = first.as_mut().poll(&mut context) {
                break lsn.unwrap();
            }
        };
        log.sync_to(lsn).unwrap();
        let shown = contents(&log);
        assert_eq!(shown.len() as u64, before + 1);
        assert_eq!(shown.last().unwrap(), &vec![1; 1000]);
    }
}

#[test]
fn closing_ends_the_wait_of_those_who_append() {
    let (sim, clock) = (SimDisk::new(), Arc::new(Stalling::default()));
    let (log, _) = stalled(&sim, &clock, WritePath::PageCache);
    let woken = Arc::new(Woken::default());
    let waker = Arc::clone(&woken).into();
    let mut context = Context::from_waker(&waker);
    let mut waiting = pin!(log.append_async([1; 1000]));
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    clock.stall(false);
    // It may come first: then the record is appended before the log is closed.
    log.close().unwrap();
    assert!(woken.0.load(Ordering::SeqCst) > 0);
    match waiting.as_mut().poll(&mut context) {
        Poll::Ready(Err(WalError::Closed { .. })) => {}
        other => panic!("{other:?}"),
    }
}

/// A waker may own the log. Woken by the thread that makes segments, it would have waited for that
/// thread for ever.
#[test]
fn the_waker_of_an_append_may_close_the_log() {
    struct Owner(Mutex<Option<Wal>>);

    impl Wake for Owner {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().take());
        }
    }

    for path in PATHS {
        let (sim, clock) = (SimDisk::new(), Arc::new(Stalling::default()));
        let (log, before) = stalled(&sim, &clock, path);
        // Not a byte more fits: closing takes the next segment, too.
        while log.try_append("").is_ok() {}
        let mut waiting = Box::pin(log.append_async([1; 1000]));
        let owner = Arc::new(Owner(Mutex::new(Some(log))));
        let waker = Arc::clone(&owner).into();
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        clock.stall(false);
        while owner.0.lock().is_some() {
            std::thread::yield_now();
        }
        drop(waiting);
        // The thread that closes it may still hold its lock, or a map.
        let log = loop {
            match Wal::open_with("/log", on(&sim).write_path(path)) {
                Err(WalError::Locked { .. } | WalError::Io { .. }) => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        assert!(contents(&log).len() as u64 >= before);
    }
}

/// With direct writes, two segments at most are in memory and not durable. An append syncs then; a
/// future has that done.
#[test]
fn a_future_has_others_sync_what_is_too_much() {
    let sim = SimDisk::new();
    let options = on(&sim)
        .background(Background::Thread)
        .write_path(WritePath::Direct);
    let log = Wal::open_with("/log", options).unwrap();
    let mut refused = 0;
    for _ in 0..100 {
        if let Err(error) = log.try_append([7; 1000]) {
            assert!(matches!(error, WalError::WouldWait { .. }), "{error}");
            refused += 1;
            let _lsn = block_on(log.append_async([7; 1000])).unwrap();
        }
    }
    assert!(refused > 0);
    assert!(
        log.durable_lsn().get() > 16 << 10,
        "nobody synced but the log"
    );
    log.sync().unwrap();
    assert_eq!(contents(&log).len(), 100);
}

/// One that refuses has that done, too: trying again and again comes to an end without any sync by
/// the program.
#[test]
fn trying_again_is_enough() {
    let sim = SimDisk::new();
    let options = on(&sim)
        .background(Background::Thread)
        .write_path(WritePath::Direct);
    let log = Wal::open_with("/log", options).unwrap();
    for n in 0..100_u8 {
        while let Err(error) = log.try_append([n; 1000]) {
            assert!(matches!(error, WalError::WouldWait { .. }), "{error}");
            std::thread::yield_now();
        }
    }
    log.sync().unwrap();
    assert_eq!(contents(&log).len(), 100);
}

/// The error of making a segment reaches those who wait for it, and what follows goes on.
#[test]
fn a_future_learns_why_there_is_no_next_segment() {
    let sim = SimDisk::new();
    let options = on(&sim).background(Background::Thread);
    let log = Wal::open_with("/log", options).unwrap();
    sim.fail(Fault::new(Call::Create, FaultKind::Enospc).forever());
    let error = loop {
        if let Err(error) = block_on(log.append_async([7; 1000])) {
            break error;
        }
    };
    assert!(error.is_no_space(), "{error}");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);
    sim.clear_faults();
    let lsn = block_on(log.append_async([8; 1000])).unwrap();
    log.sync_to(lsn).unwrap();
    assert_eq!(contents(&log).last().unwrap(), &vec![8; 1000]);
}

/// In a log without threads the calls that never wait do the work.
#[test]
fn without_threads_every_call_does_the_work() {
    for path in PATHS {
        let sim = SimDisk::new();
        let options = on(&sim).background(Background::Inline).write_path(path);
        let log = Wal::open_with("/log", options).unwrap();
        for n in 0..200 {
            let lsn = match n % 2 {
                0 => log.try_append([7; 1000]),
                _ => block_on(log.append_async([7; 1000])),
            };
            let _lsn = lsn.unwrap();
        }
        log.sync().unwrap();
        assert_eq!(contents(&log).len(), 200);
    }
}

/// Each kind of error has one of I/O, and is found in it again.
#[test]
fn an_error_of_the_log_is_one_of_io() {
    let sim = SimDisk::new();
    let bounded = on(&sim).max_bytes(64 << 10);
    let log = Wal::open_with("/log", bounded).unwrap();
    let full = loop {
        if let Err(error) = log.append([7; 1000]) {
            break error;
        }
    };
    let text = full.to_string();
    let error = io::Error::from(full);
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(error.to_string(), text);
    assert!(error.downcast::<WalError>().unwrap().is_no_space());
    let kind = |error: WalError| io::Error::from(error).kind();
    let locked = Wal::open_with("/log", on(&sim)).unwrap_err();
    assert_eq!(kind(locked), io::ErrorKind::ResourceBusy);
    let beyond = log.sync_to(Lsn::new(1 << 40)).unwrap_err();
    assert_eq!(kind(beyond), io::ErrorKind::InvalidInput);
    let options = AppendOptions::new().admission(Admission::Reserve);
    let lsn = log.append_with(&options, "reserve").unwrap();
    log.truncate_before(lsn).unwrap();
    assert_eq!(
        kind(log.read_from(Lsn::new(4096)).unwrap_err()),
        io::ErrorKind::NotFound
    );
    log.close().unwrap();
    assert_eq!(
        kind(log.append("").unwrap_err()),
        io::ErrorKind::NotConnected
    );
    fn service() -> io::Result<()> {
        Wal::open_with("", Options::new())?;
        Ok(())
    }
    assert!(service().is_err());
}

/// Panics in the thread that makes segments for all logs that share it, once it is told to.
#[derive(Debug, Default)]
struct Panicking(OsClock, AtomicBool);

impl Clock for Panicking {
    fn now(&self) -> Duration {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let panics = self.1.load(Ordering::SeqCst) && name == "highwater-wal-shared-maintenance";
        assert!(!panics, "on purpose");
        self.0.now()
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn wait(&self, alarm: &Arc<Notify>, deadline: Option<Duration>) -> WaitResult {
        self.0.wait(alarm, deadline)
    }
}

/// A panic for one log of those that share threads is an error of that one: its appends do not wait
/// for ever, and the others go on to their next segments.
#[test]
fn a_panic_for_one_log_is_not_one_for_the_others() {
    let clock = Arc::new(Panicking::default());
    let (sims, time) = (
        [SimDisk::new(), SimDisk::new()],
        Arc::<Panicking>::clone(&clock),
    );
    let shared = |sim| on(sim).background(Background::Shared);
    let broken = Wal::open_with("/log", shared(&sims[0]).clock(time)).unwrap();
    let other = Wal::open_with("/log", shared(&sims[1])).unwrap();
    clock.1.store(true, Ordering::SeqCst);
    let error = (0..100).find_map(|_| broken.append([7; 1000]).err());
    let error = error.expect("no next segment was made");
    assert!(matches!(error, WalError::Closed { .. }), "{error}");
    for _ in 0..100 {
        let _lsn = other.append_sync([7; 1000]).unwrap();
    }
    assert!(other.stats().segments > 3, "{:?}", other.stats());
    drop((broken, other));
    clock.1.store(false, Ordering::SeqCst);
}
