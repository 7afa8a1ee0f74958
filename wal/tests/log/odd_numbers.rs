//! No duration, count, size or position panics, overflows or hangs: it means what it says, or is
//! refused by name.

use highwater_wal::disk::{Clock, Disk, ManualClock, SimDisk};
use highwater_wal::{
    AppendOptions, Background, Durability, Lsn, Options, StreamId, Tailed, Wal, WalError,
    WritePath, inspect,
};
use std::sync::Arc;
use std::time::Duration;

const NUMBERS: [u64; 18] = [
    0,
    1,
    7,
    8,
    511,
    4095,
    4096,
    4097,
    8192,
    12_345,
    (1 << 31) - 1,
    1 << 31,
    (1 << 31) + 4096,
    1 << 32,
    1 << 62,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

const DURATIONS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(u64::MAX),
    Duration::from_secs(u64::MAX),
    Duration::new(u64::MAX - 1, 999_999_999),
    Duration::MAX,
];

fn base(sim: &SimDisk) -> Options {
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    Options::new().segment_size(32 << 10).disk(disk)
}

/// What a log does in its life; if it opens, all of this works.
fn live(options: Options, name: &str) -> Result<(), WalError> {
    let most = options.max_record();
    let log = Wal::open_with("/log", options)?;
    for size in [0, 1, 100] {
        match log.append(vec![1; size]) {
            Ok(lsn) => log.sync_to(lsn).unwrap(),
            Err(error) => {
                assert!(size > most, "{name}: {error}");
                assert!(
                    matches!(error, WalError::RecordTooLarge { .. }),
                    "{name}: {error}"
                );
            }
        }
    }
    log.truncate_before(log.durable_lsn()).unwrap();
    log.close()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    Ok(())
}

/// Refused or right: an error of the options names the option.
fn opens_or_is_refused(name: &str, value: &str, options: Options) -> bool {
    match live(options, name) {
        Ok(()) => true,
        Err(WalError::BadOptions { what }) => {
            assert!(what.contains(name), "{name} {value}: {what}");
            assert!(what.contains(value), "{name} {value}: {what}");
            false
        }
        Err(error) => panic!("{name} {value}: {error}"),
    }
}

/// The settings that are numbers, each with how many of [`NUMBERS`] are taken.
#[test]
fn every_size_is_taken_or_refused_by_name() {
    type Set = fn(Options, u64) -> Options;
    let settings: [(&str, Set, usize); 6] = [
        (
            "segment_size",
            |o, n| o.segment_size(n).write_path(WritePath::Direct),
            1,
        ),
        (
            "max_record_bytes",
            |o, n| o.max_record_bytes(usize::try_from(n).unwrap()),
            10,
        ),
        ("max_bytes", |o, n| o.max_bytes(n), 8),
        ("seal_groups", |o, n| o.seal_groups(n), 3),
        ("progress_interval", |o, n| o.progress_interval(n), 18),
        ("longest_write", |o, n| o.longest_write(n), 2),
    ];
    for (name, set, expected) in settings {
        let mut taken = 0;
        for number in NUMBERS {
            // A segment of 2 GiB is right, and more than a test should write.
            if name == "segment_size" && number == 1 << 31 {
                continue;
            }
            for background in [Background::Inline, Background::Thread] {
                let sim = SimDisk::new();
                let options = set(base(&sim), number).background(background);
                let _ = options.max_record();
                taken += usize::from(opens_or_is_refused(name, &number.to_string(), options));
            }
        }
        assert_eq!(taken, 2 * expected, "{name}");
    }
}

/// Case 04: `Duration::MAX` as "never", and everything near it.
#[test]
fn every_duration_means_what_it_says() {
    type Set = fn(Options, Duration) -> Options;
    let settings: [(&str, Set); 2] = [
        ("group_commit_wait", |o, d| o.group_commit_wait(d)),
        ("interval", |o, d| o.durability(Durability::Interval(d))),
    ];
    for (name, set) in settings {
        for duration in DURATIONS {
            for background in [Background::Inline, Background::Thread] {
                let sim = SimDisk::new();
                live(set(base(&sim), duration).background(background), name).unwrap();
            }
        }
    }
    for duration in DURATIONS {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", base(&sim)).unwrap();
        let within = AppendOptions::new().durability(Durability::Interval(duration));
        let lsn = log.append_with(&within, "x").unwrap();
        log.sync_to(lsn).unwrap();
        let mut tail = log.tail(Lsn::ZERO).unwrap();
        assert!(matches!(
            tail.next_timeout(duration).unwrap(),
            Tailed::Record(_)
        ));
        // Nothing more comes: the wait ends with the log, or in time.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || tail.next_timeout(duration));
            log.close().unwrap();
            let ended = waiting.join().unwrap().unwrap();
            assert!(
                matches!(ended, Tailed::Ended | Tailed::TimedOut),
                "{ended:?}"
            );
        });
    }
}

/// A clock at its last moment: deadlines computed from it do not overflow.
#[test]
fn a_log_lives_at_the_end_of_time() {
    for background in [Background::Inline, Background::Thread] {
        let sim = SimDisk::new();
        let clock = Arc::new(ManualClock::new(u64::MAX));
        clock.advance(Duration::MAX);
        let clock: Arc<dyn Clock> = clock;
        for durability in [
            Durability::Sync,
            Durability::Interval(Duration::from_secs(1)),
        ] {
            let options = base(&sim).clock(Arc::clone(&clock)).durability(durability);
            live(options.background(background), "clock").unwrap();
        }
    }
}

#[cfg(feature = "zstd")]
#[test]
fn every_compression_level_is_taken_or_refused_by_name() {
    for level in [i32::MIN, -8, -7, 0, 22, 23, i32::MAX] {
        let sim = SimDisk::new();
        let options = base(&sim).compression(highwater_wal::Compression::Zstd { level });
        let taken = opens_or_is_refused("compression level", &level.to_string(), options);
        assert_eq!(taken, (-7..=22).contains(&level), "{level}");
    }
}

/// Every call that takes a position or a size, with every number: an answer, never a panic, and the
/// log goes on.
#[test]
fn every_position_is_answered() {
    for background in [Background::Inline, Background::Thread] {
        let sim = SimDisk::new();
        let log = Wal::open_with("/log", base(&sim).background(background)).unwrap();
        for n in 0..60 {
            let _ = log.append_batch_to(StreamId(u16::MAX), [[n; 900]]).unwrap();
        }
        log.sync().unwrap();
        let end = log.end_lsn().get();
        let near = [
            log.durable_lsn().get(),
            end - 1,
            end,
            end + 1,
            32 << 10,
            (32 << 10) + 1,
        ];
        for number in NUMBERS.into_iter().chain(near) {
            let lsn = Lsn::new(number);
            let exists = lsn <= log.end_lsn();
            assert_eq!(log.sync_to(lsn).is_ok(), exists, "{number}");
            let _ = log.commit(lsn);
            let count = |from| log.read_from(from).map(|reader| reader.take(100).count());
            let _ = (count(lsn), log.tail(lsn).map(drop));
            let _ = (
                log.retain(lsn).map(drop),
                log.scan_headers(lsn, lsn).map(drop),
            );
            for other in NUMBERS {
                let to = Lsn::new(other);
                let _ = log
                    .read_range(lsn, to)
                    .map(|reader| reader.take(100).count());
                let _ = log
                    .scan_headers(lsn, to)
                    .map(|headers| headers.take(100).count());
                let _ = log.chunk(lsn, to).map(drop);
            }
            let whole = log
                .chunks(log.first_lsn(), log.durable_lsn(), number)
                .unwrap();
            let frames = whole.iter().map(|chunk| chunk.frames().count());
            assert_eq!(frames.sum::<usize>(), 60, "chunks of {number} bytes");
        }
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        for number in NUMBERS {
            let looked = inspect::Log::open(Arc::clone(&disk), "/log").unwrap();
            let _ = looked
                .frames(Lsn::new(number))
                .map(|frames| frames.take(100).count());
            let _ = looked.stats(Lsn::new(number), |_| ());
            let mut follow = looked.follow(Lsn::new(number));
            let _ = follow.as_mut().map(|follow| follow.poll().map(drop));
        }
        // The largest of all, last.
        log.truncate_before(Lsn::new(u64::MAX)).unwrap();
        let mut guard = log.retain(log.first_lsn()).unwrap();
        guard.advance(Lsn::new(u64::MAX));
        assert_eq!(guard.lsn(), Lsn::new(u64::MAX));
        let lsn = log.append("goes on").unwrap();
        log.sync_to(lsn).unwrap();
        drop(guard);
        log.close().unwrap();
    }
}
