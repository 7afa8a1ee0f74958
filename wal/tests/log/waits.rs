//! Which thread waits for which, and how long, by clocks that the test has in its hands.

use crate::common::options;
#[cfg(feature = "tracing")]
use crate::common::warnings::Warnings;
use highwater_wal::disk::{Clock, Disk, Notify, OsClock, SimDisk, WaitResult};
use highwater_wal::{Background, Options, Wal};
use parking_lot::{Condvar, Mutex};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

thread_local! {
    /// How often this thread looked at the clock.
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

/// Each look at the clock takes a while; and the thread that makes segments can be stopped at its
/// next look.
#[derive(Debug)]
struct HandClock {
    tick: Duration,
    nanos: AtomicU64,
    os: OsClock,
    maintenance_stops: Mutex<bool>,
    changed: Condvar,
}

impl HandClock {
    fn new(tick: Duration) -> Arc<Self> {
        Arc::new(Self {
            tick,
            nanos: AtomicU64::new(0),
            os: OsClock::new(),
            maintenance_stops: Mutex::new(false),
            changed: Condvar::new(),
        })
    }

    fn stop_maintenance(&self, stops: bool) {
        *self.maintenance_stops.lock() = stops;
        self.changed.notify_all();
    }

    fn stand_still_if_told(&self) {
        if std::thread::current().name() != Some("highwater-wal-maintenance") {
            return;
        }
        let mut stops = self.maintenance_stops.lock();
        while *stops {
            self.changed.wait(&mut stops);
        }
    }
}

impl Clock for HandClock {
    fn now(&self) -> Duration {
        self.stand_still_if_told();
        LOOKS.with(|looks| looks.set(looks.get() + 1));
        let tick = u64::try_from(self.tick.as_nanos()).unwrap();
        Duration::from_nanos(self.nanos.fetch_add(tick, Ordering::Relaxed))
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    /// A short moment stands for any deadline: a thread that waits looks at the clock again.
    fn wait(&self, alarm: &Arc<Notify>, deadline: Option<Duration>) -> WaitResult {
        let soon = self.os.now() + Duration::from_millis(1);
        let woken = self.os.wait(alarm, deadline.map(|_| soon));
        self.stand_still_if_told();
        woken
    }
}

const TICK: Duration = Duration::from_micros(10);

fn open(clock: &Arc<HandClock>, options: Options) -> Wal {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    Wal::open_with("/log", options.disk(disk).clock(clock)).unwrap()
}

/// Appends and commits; returns how often the clock was looked at for it.
fn commit(log: &Wal) -> u64 {
    let before = LOOKS.get();
    let lsn = log.append([7; 20]).unwrap();
    log.sync_to(lsn).unwrap();
    LOOKS.get() - before
}

fn together(log: &Wal, threads: usize) -> u64 {
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| (0..40).map(|_| commit(log)).max().unwrap()))
            .collect();
        all.into_iter()
            .map(|one| one.join().unwrap())
            .max()
            .unwrap()
    })
}

/// A leader waits for the cohort by the clock: a producer that is alone does not look at it
/// for that, also when others were there before.
#[test]
fn a_producer_that_is_alone_waits_for_nobody() {
    // Rotation looks at the clock, too.
    let options = || options().segment_size(1 << 20);
    let impatient = HandClock::new(TICK);
    let log = open(&impatient, options().group_commit_wait(Duration::ZERO));
    let least = (0..20).map(|_| commit(&log)).max().unwrap();
    assert!(least <= 2, "{least}");
    let patient = HandClock::new(TICK);
    let log = open(
        &patient,
        options().group_commit_wait(Duration::from_secs(1_000)),
    );
    assert_eq!((0..20).map(|_| commit(&log)).max().unwrap(), least);
    drop(log);
    let log = open(&patient, options().group_commit_wait(10 * TICK));
    together(&log, 4);
    commit(&log); // may wait for those who will not come back
    assert_eq!((0..20).map(|_| commit(&log)).max().unwrap(), least);
}

/// The wait ends at its bound, also if a producer does not come.
#[test]
fn nobody_waits_for_the_cohort_longer_than_the_bound() {
    let clock = HandClock::new(TICK);
    let log = open(&clock, options().group_commit_wait(Duration::ZERO));
    let without = together(&log, 8);
    drop(log);
    let log = open(&clock, options().group_commit_wait(4 * TICK));
    // The first look, and one for each tick of the bound.
    let bound = without + 1 + 4;
    let most = together(&log, 8);
    assert!(most <= bound, "{most} looks in one commit, not {bound}");
}

/// While a segment is ready, nobody waits for the thread that makes the next one.
#[test]
fn appends_go_on_into_a_ready_segment_while_the_maintenance_thread_stands_still() {
    let clock = HandClock::new(TICK);
    let log = Arc::new(open(&clock, options().background(Background::Thread)));
    while log.stats().segments_ready == 0 {
        commit(&log);
    }
    clock.stop_maintenance(true);
    let segments = log.stats().segments;
    let (tell, told) = mpsc::channel();
    let appender = Arc::clone(&log);
    std::thread::spawn(move || {
        while appender.stats().segments == segments {
            commit(&appender);
        }
        tell.send(()).unwrap();
    });
    let gone_on = told.recv_timeout(Duration::from_secs(120));
    clock.stop_maintenance(false);
    gone_on.expect("the next segment was ready, and an append waited");
    log.close().unwrap();
}

/// A sync of a second and more is told of.
#[cfg(feature = "tracing")]
#[test]
fn a_slow_sync_is_a_warning() {
    for (tick, expected) in [(900, 0), (1_000, 3)] {
        let clock = HandClock::new(Duration::from_millis(tick));
        let log = open(&clock, options().background(Background::Inline));
        let told = Warnings::during(|| {
            (0..3).for_each(|_| {
                commit(&log);
            });
        });
        let slow = told
            .iter()
            .filter(|text| text.contains("sync of the log was slow"));
        assert_eq!(slow.count(), expected, "{told:?}");
    }
}
