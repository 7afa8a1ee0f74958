//! `Wal::durable` as a future: under tokio, under the smallest executor, and polled by hand.
//!
//! Where a test must know that a sync is under way, [`Cheat::LeaderAwaits`] holds its leader
//! until another thread waits for it too.

use crate::common::executor::block_on;
use crate::common::{contents, options};
use highwater_wal::disk::sim::{Call, Fault, FaultKind};
use highwater_wal::disk::{Disk, SimDisk};
use highwater_wal::{Cheat, Durable, Lsn, Options, Result, Wal, WalError};
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, yield_now};

/// Counts how often it is woken, and unparks the thread that made it.
struct Bell {
    rung: AtomicUsize,
    owner: Thread,
}

impl Bell {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            rung: AtomicUsize::new(0),
            owner: std::thread::current(),
        })
    }

    fn rung(&self) -> usize {
        self.rung.load(Ordering::SeqCst)
    }

    fn wait(&self) {
        while self.rung() == 0 {
            std::thread::park();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.fetch_add(1, Ordering::SeqCst);
        self.owner.unpark();
    }
}

fn poll(future: &mut Durable, bell: &Arc<Bell>) -> Poll<Result<()>> {
    let waker = Arc::clone(bell).into();
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

fn tokio() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

fn on(sim: &SimDisk) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    options().disk(disk)
}

/// A log whose syncs wait until two threads want them.
struct Held {
    sim: SimDisk,
    log: Arc<Wal>,
}

impl Held {
    fn open() -> Self {
        let sim = SimDisk::new();
        let options = on(&sim).segment_size(1 << 20);
        let options = options.cheat(Cheat::LeaderAwaits(1));
        let log = Arc::new(Wal::open_with("/log", options).unwrap());
        Self { sim, log }
    }
}

impl Deref for Held {
    type Target = Arc<Wal>;

    fn deref(&self) -> &Arc<Wal> {
        &self.log
    }
}

/// Closing would wait for ever, so the log is poisoned first: a test that fails must end too.
impl Drop for Held {
    fn drop(&mut self) {
        let fault = Fault::new(Call::SyncMap, FaultKind::Eio);
        self.sim.fail(fault.forever());
        let fail = || {
            self.log
                .append("last")
                .and_then(|lsn| self.log.sync_to(lsn))
        };
        std::thread::scope(|scope| {
            scope.spawn(fail);
            scope.spawn(fail);
        });
    }
}

#[test]
fn a_future_is_ready_when_its_record_is_durable_and_not_before() {
    let log = Held::open();
    let lsn = log.append("x").unwrap();
    let (mut future, bell) = (log.durable(lsn), Bell::new());
    for _ in 0..1000 {
        assert!(poll(&mut future, &bell).is_pending());
        assert!(log.durable_lsn() <= lsn && bell.rung() == 0);
    }
    // The second thread that wants the sync lets it go on.
    log.sync_to(lsn).unwrap();
    bell.wait();
    assert!(matches!(poll(&mut future, &bell), Poll::Ready(Ok(()))));
    assert_eq!(bell.rung(), 1);
}

/// A future may move to another task: who polled it last is woken, from another thread.
#[test]
fn the_last_waker_is_woken_and_no_earlier_one() {
    let log = Held::open();
    let lsn = log.append("x").unwrap();
    let mut future = log.durable(lsn);
    let (before, after) = (Bell::new(), Bell::new());
    assert!(poll(&mut future, &before).is_pending());
    assert!(poll(&mut future, &after).is_pending());
    std::thread::scope(|scope| {
        scope.spawn(|| log.sync_to(lsn).unwrap());
        while before.rung() + after.rung() == 0 {
            std::thread::park();
        }
    });
    assert_eq!((before.rung(), after.rung()), (0, 1));
    assert!(matches!(poll(&mut future, &after), Poll::Ready(Ok(()))));
}

/// F13: half of those who wait give up while the sync is under way; the others are told, nobody
/// calls the dead.
#[test]
fn futures_dropped_during_the_sync_harm_nobody() {
    let log = Held::open();
    let mut waiting: Vec<_> = (0..100_u8)
        .map(|n| (log.durable(log.append([n]).unwrap()), Bell::new()))
        .collect();
    for (future, bell) in &mut waiting {
        assert!(poll(future, bell).is_pending());
    }
    let gone: Vec<_> = waiting.drain(50..).map(|(_, bell)| bell).collect();
    log.sync().unwrap();
    for (future, bell) in &mut waiting {
        bell.wait();
        assert!(matches!(poll(future, bell), Poll::Ready(Ok(()))));
    }
    assert!(gone.iter().all(|bell| bell.rung() == 0));
    // What was given up is in the log all the same.
    assert_eq!(contents(&log).len(), 100);
}

/// Five hundred tasks of one thread wait at once; the flush that is under way and the one after it
/// serve them all.
#[test]
fn hundreds_of_tasks_share_two_flushes() {
    let log = Held::open();
    let before = log.stats().groups;
    tokio().block_on(async {
        let asked = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for n in 0..500_u32 {
            let (log, asked) = (Arc::clone(&log), Arc::clone(&asked));
            tasks.spawn(async move {
                let lsn = log.append(n.to_le_bytes())?;
                asked.fetch_add(1, Ordering::SeqCst);
                log.durable(lsn).await?;
                assert!(log.durable_lsn() > lsn);
                Ok::<_, WalError>(())
            });
        }
        while asked.load(Ordering::SeqCst) < 500 {
            yield_now().await;
        }
        let syncing = Arc::clone(&log);
        let syncing = std::thread::spawn(move || syncing.sync());
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
        syncing.join().unwrap().unwrap();
    });
    let groups = log.stats().groups - before;
    assert!((1..=2).contains(&groups), "{groups} flushes");
}

/// The durable-LSN record after the last group is left to the next one, unless a thread awaits it:
/// the flusher went round and round.
#[test]
fn the_last_durable_lsn_record_can_be_awaited() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    let lsn = log.append("x").unwrap();
    log.sync_to(lsn).unwrap();
    let record = log.durable_lsn();
    assert!(record < log.end_lsn());
    block_on(log.durable(record)).unwrap();
    assert!(log.durable_lsn() > record);
}

/// F13 under tokio: an aborted task drops its future while it waits.
#[test]
fn aborted_tasks_harm_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Wal::open_with(dir.path(), options()).unwrap());
    tokio().block_on(async {
        let mut tasks = JoinSet::new();
        for n in 0..200_u8 {
            let log = Arc::clone(&log);
            let lsn = log.append([n]).unwrap();
            let task = tasks.spawn(async move { log.durable(lsn).await });
            if n % 2 == 0 {
                yield_now().await;
                task.abort();
            }
        }
        let (mut done, mut aborted) = (0, 0);
        while let Some(outcome) = tasks.join_next().await {
            match outcome {
                Ok(outcome) => done += usize::from(outcome.is_ok()),
                Err(error) => aborted += usize::from(error.is_cancelled()),
            }
        }
        assert!(done >= 100 && done + aborted == 200, "{done}, {aborted}");
    });
    assert_eq!(contents(&log).len(), 200);
}

/// F15: every task that waits for the sync that fails is told, and everyone who asks later; what
/// was durable stays so.
#[test]
fn a_failed_sync_is_told_to_every_task() {
    let sim = SimDisk::new();
    let log = Arc::new(Wal::open_with("/log", on(&sim)).unwrap());
    let safe = log.append("safe").unwrap();
    block_on(log.durable(safe)).unwrap();
    sim.fail(Fault::new(Call::SyncMap, FaultKind::Eio));
    let lsns: Vec<Lsn> = (0..100_u8).map(|n| log.append([n]).unwrap()).collect();
    tokio().block_on(async {
        let mut tasks = JoinSet::new();
        for lsn in &lsns {
            tasks.spawn(log.durable(*lsn));
        }
        let mut told = 0;
        while let Some(outcome) = tasks.join_next().await {
            let outcome = outcome.unwrap();
            assert!(
                matches!(outcome, Err(WalError::Poisoned { .. })),
                "{outcome:?}"
            );
            told += 1;
        }
        assert_eq!(told, 100);
    });
    assert!(matches!(
        block_on(log.durable(lsns[99])),
        Err(WalError::Poisoned { .. })
    ));
    block_on(log.durable(safe)).unwrap();
}

/// Closing makes durable what tasks wait for; afterwards a future answers at once, whatever it is
/// asked.
#[test]
fn closing_answers_every_future() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Wal::open_with(dir.path(), options()).unwrap());
    let lsns: Vec<Lsn> = (0..100_u8).map(|n| log.append([n]).unwrap()).collect();
    tokio().block_on(async {
        let mut tasks = JoinSet::new();
        for lsn in &lsns {
            tasks.spawn(log.durable(*lsn));
        }
        let closing = Arc::clone(&log);
        let closing = std::thread::spawn(move || closing.close());
        while let Some(outcome) = tasks.join_next().await {
            outcome.unwrap().unwrap();
        }
        closing.join().unwrap().unwrap();
    });
    block_on(log.durable(lsns[99])).unwrap();
    assert!(matches!(log.append("late"), Err(WalError::Closed { .. })));
    // Nothing more will ever stand at the end, and everything below is durable: an answer, not a
    // wait.
    block_on(log.durable(log.end_lsn())).unwrap();
}

/// Threads that each run a future wake one another through the flush that one of them began.
#[test]
fn futures_of_many_threads_wake_across_them() {
    let dir = tempfile::tempdir().unwrap();
    let log = Wal::open_with(dir.path(), options()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let log = &log;
            scope.spawn(move || {
                for n in 0..100_u8 {
                    let lsn = log.append([thread, n]).unwrap();
                    if n % 2 == thread % 2 {
                        block_on(log.durable(lsn)).unwrap();
                    } else {
                        log.sync_to(lsn).unwrap();
                    }
                    assert!(log.durable_lsn() > lsn);
                }
            });
        }
    });
    assert_eq!(contents(&log).len(), 400);
}
