//! A tail that is asked for a while only, awaited as a task, and stopped from elsewhere.

use crate::common::executor::block_on;
use crate::common::options;
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::{AppendOptions, Durability, Lsn, StreamId, Tail, Tailed, Wal, WalError};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const SOON: Duration = Duration::from_millis(1);

fn open() -> (tempfile::TempDir, Wal) {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    (dir, log)
}

fn append_durably(log: &Wal, stream: u16, payload: &str) -> Lsn {
    let stream = AppendOptions::new().stream(StreamId(stream));
    log.append_with(&stream, payload).unwrap()
}

/// What the tail returns at once, or soon.
fn text(found: Tailed) -> Option<String> {
    match found {
        Tailed::Record(record) => Some(String::from_utf8(record.payload.to_vec()).unwrap()),
        Tailed::TimedOut => None,
        Tailed::Ended => Some("the end".to_owned()),
    }
}

#[test]
fn a_tail_waits_no_longer_than_it_is_asked_to() {
    let (_dir, log) = open();
    let mut tail = log.tail(Lsn::ZERO).unwrap().only(StreamId(7));
    let mut next = |timeout| text(tail.next_timeout(timeout).unwrap());
    assert_eq!(next(Duration::ZERO), None);
    let _ = append_durably(&log, 1, "of another stream");
    assert_eq!(next(SOON), None);
    let seven = AppendOptions::new().stream(StreamId(7));
    let seven = seven.durability(Durability::Os);
    let lsn = log.append_with(&seven, "mine").unwrap();
    assert_eq!(next(Duration::ZERO), None, "not durable yet");
    log.sync_to(lsn).unwrap();
    assert_eq!(next(Duration::ZERO).unwrap(), "mine");
    assert_eq!(next(SOON), None);
    log.close().unwrap();
    assert_eq!(next(Duration::MAX).unwrap(), "the end");
}

/// Following from the next record on was refused while anything before it was not durable.
#[test]
fn a_tail_may_begin_where_nothing_is_durable_yet() {
    let (_dir, log) = open();
    let first = log.append("first").unwrap();
    let next = log.end_lsn();
    let mut from_first = log.tail(first).unwrap();
    let mut from_next = log.tail(next).unwrap();
    assert_eq!(text(from_first.next_timeout(SOON).unwrap()), None);
    log.sync_to(first).unwrap();
    assert_eq!(
        text(from_first.next_timeout(SOON).unwrap()).unwrap(),
        "first"
    );
    assert_eq!(text(from_next.next_timeout(SOON).unwrap()), None);
    let _ = append_durably(&log, 1, "second");
    assert_eq!(
        text(from_next.next_timeout(SOON).unwrap()).unwrap(),
        "second"
    );
    // Up to the end and across the end of a segment, record by record.
    for n in 0..100_u32 {
        let mut ahead = log.tail(log.end_lsn()).unwrap();
        let lsn = log.append(vec![b'x'; 300]).unwrap();
        let mut on_it = log.tail(lsn).unwrap();
        assert_eq!(text(ahead.next_timeout(Duration::ZERO).unwrap()), None);
        log.sync_to(lsn).unwrap();
        for tail in [&mut ahead, &mut on_it] {
            let Tailed::Record(record) = tail.next_timeout(Duration::ZERO).unwrap() else {
                panic!("record {n} is durable")
            };
            assert_eq!(record.lsn, lsn);
        }
    }
    let amiss = log.append("12345678").unwrap();
    let mut amiss = log.tail(Lsn::new(amiss.get() + 8)).unwrap();
    log.sync().unwrap();
    assert!(matches!(
        amiss.next_timeout(SOON),
        Err(WalError::Corrupt { .. })
    ));
    let beyond = Lsn::new(log.end_lsn().get() + 8);
    assert!(matches!(log.tail(beyond), Err(WalError::BeyondEnd { .. })));
    let mut ended = log.tail(log.end_lsn()).unwrap();
    log.close().unwrap();
    assert!(ended.next().is_none());
}

/// A wait without end is ended by a record that comes.
#[test]
fn a_record_ends_the_wait() {
    let (_dir, log) = open();
    std::thread::scope(|scope| {
        let mut tail = log.tail(Lsn::ZERO).unwrap();
        let follower = scope.spawn(move || text(tail.next_timeout(Duration::MAX).unwrap()));
        let _ = append_durably(&log, 1, "it");
        assert_eq!(follower.join().unwrap().unwrap(), "it");
    });
}

/// The stop comes before, while or after the follower falls asleep; the other tail goes on.
#[test]
fn a_stopped_tail_lets_go_of_its_waiters() {
    let (_dir, log) = open();
    let other = log.tail(Lsn::ZERO).unwrap();
    for round in 0..200 {
        std::thread::scope(|scope| {
            let mut tail = log.tail(log.durable_lsn()).unwrap();
            let stopper = tail.stopper();
            let follower = scope.spawn(move || match round % 2 {
                0 => tail.next().is_none(),
                _ => block_on(tail.recv()).is_none(),
            });
            for _ in 0..round {
                std::thread::yield_now();
            }
            stopper.stop();
            assert!(follower.join().unwrap());
        });
    }
    let lsn = append_durably(&log, 1, "for the other");
    log.close().unwrap();
    let rest: Vec<Lsn> = other.map(|record| record.unwrap().lsn).collect();
    assert_eq!(rest, [lsn]);
}

#[test]
fn a_stopped_tail_returns_nothing_more_and_another_goes_on_from_its_last_record() {
    let (_dir, log) = open();
    let lsns: Vec<Lsn> = ["one", "two", "three"]
        .iter()
        .map(|payload| append_durably(&log, 1, payload))
        .collect();
    let mut tail = log.tail(Lsn::ZERO).unwrap();
    let last = (tail.next().unwrap().unwrap(), tail.next().unwrap().unwrap()).1;
    tail.stopper().stop();
    assert!(matches!(tail.next_timeout(SOON), Ok(Tailed::Ended)));
    assert!(tail.next().is_none() && block_on(tail.recv()).is_none());
    let again = log.tail(last.lsn).unwrap().take(2);
    let again: Vec<Lsn> = again.map(|record| record.unwrap().lsn).collect();
    assert_eq!(again, lsns[1..]);
}

/// One thread, one task that appends and one that follows, through several segments; the end comes
/// with the log's.
#[test]
fn a_task_follows_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Wal::open_with(dir.path(), options()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread();
    { runtime }.build().unwrap().block_on(async {
        let mut tail = log.tail(Lsn::ZERO).unwrap();
        let follower = tokio::spawn(async move {
            let mut seen = 0_u32;
            while let Some(record) = tail.recv().await {
                let payload = record.unwrap().payload.to_vec();
                assert_eq!(payload[..4], seen.to_le_bytes());
                seen += 1;
            }
            seen
        });
        for n in 0..1000_u32 {
            let lsn = log.append([n.to_le_bytes(); 100].concat()).unwrap();
            if n % 3 == 0 {
                log.durable(lsn).await.unwrap();
            }
        }
        assert!(log.stats().segments > 3);
        log.close().unwrap();
        assert_eq!(follower.await.unwrap(), 1000);
    });
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        let _ = self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(tail: &mut Tail, count: &Arc<Count>) -> Poll<Option<Result<Lsn, WalError>>> {
    let waker = Waker::from(Arc::clone(count));
    let polled = pin!(tail.recv()).poll(&mut Context::from_waker(&waker));
    polled.map(|found| found.map(|record| record.map(|record| record.lsn)))
}

/// What is given up was not lost, and a tail that is gone is not called.
#[test]
fn a_wait_that_is_given_up_loses_nothing() {
    let (_dir, log) = open();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let mut tail = log.tail(Lsn::ZERO).unwrap();
    assert!(poll(&mut tail, &count).is_pending());
    assert!(poll(&mut tail, &count).is_pending());
    let lsn = append_durably(&log, 1, "first");
    assert_eq!(count.0.load(Ordering::SeqCst), 1, "woken once");
    assert!(matches!(poll(&mut tail, &count), Poll::Ready(Some(Ok(found))) if found == lsn));
    assert!(poll(&mut tail, &count).is_pending());
    drop(tail);
    let _ = append_durably(&log, 1, "second");
    assert_eq!(count.0.load(Ordering::SeqCst), 1, "nobody is there");
    assert_eq!(Arc::strong_count(&count), 1, "nothing of it was kept");
}

/// A waker that owns what else waits for the log.
struct Owner(#[expect(dead_code, reason = "it is dropped")] Tail);

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

/// A waker may be the last that holds its task, and with it another tail: dropping it under the
/// lock of those who wait hung the log.
#[test]
fn a_waker_may_own_another_tail() {
    let (_dir, log) = open();
    let start = || log.tail(Lsn::ZERO).unwrap();
    let poll_with = |tail: &mut Tail, waker: &Waker| {
        assert!(
            pin!(tail.recv())
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
    };
    for replaced in [true, false] {
        let mut tail = start();
        poll_with(&mut tail, &Waker::from(Arc::new(Owner(start()))));
        if replaced {
            poll_with(&mut tail, Waker::noop());
        }
        drop(tail);
    }
    let _ = append_durably(&log, 1, "it goes on");
}

/// A failed sync wakes a task that follows; it is told once, and then that there is no more.
#[test]
fn a_failed_sync_ends_a_tail_with_its_error() {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let log = Wal::open_with("/log", options().disk(disk)).unwrap();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let mut tail = log.tail(Lsn::ZERO).unwrap();
    assert!(poll(&mut tail, &count).is_pending());
    sim.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
    assert!(log.append("x").and_then(|lsn| log.sync_to(lsn)).is_err());
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    let told = poll(&mut tail, &count);
    assert!(
        matches!(told, Poll::Ready(Some(Err(WalError::Poisoned { .. })))),
        "{told:?}"
    );
    assert!(tail.next().is_none());
}
