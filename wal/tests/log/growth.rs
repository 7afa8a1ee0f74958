//! Segments are as long as the log is fast: sizes, bounds, recycling.

use crate::common::contents;
use crate::saved_seeds;
use highwater_wal::disk::{Disk, ManualClock, SimDisk};
use highwater_wal::{Background, Options, StreamId, Wal, WalError};
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const KIB: u64 = 1 << 10;

/// A log in segments from 16 KiB to 256 KiB, whose time a test moves.
struct Rig {
    sim: SimDisk,
    clock: Arc<ManualClock>,
}

impl Rig {
    fn new() -> Self {
        Self {
            sim: SimDisk::new(),
            clock: Arc::new(ManualClock::new(0)),
        }
    }

    fn options(&self) -> Options {
        let disk: Arc<dyn Disk> = Arc::new(self.sim.clone());
        let clock = Arc::<ManualClock>::clone(&self.clock);
        Options::new()
            .min_segment_size(16 * KIB)
            .segment_size(256 * KIB)
            .background(Background::Inline)
            .log_id_seed(1)
            .clock(clock)
            .disk(disk)
    }

    fn open(&self) -> Wal {
        Wal::open_with("/log", self.options()).unwrap()
    }

    /// Sizes of the segment files in KiB, by name.
    fn sizes(&self) -> Vec<u64> {
        let files = self.sim.files().into_iter();
        let is_segment = |p: &PathBuf| p.extension().is_some_and(|e| e == "wal");
        let mut segments: Vec<_> = files.filter(is_segment).collect();
        segments.sort();
        let len = |path| self.sim.read_file(path).unwrap().len() as u64 / KIB;
        segments.into_iter().map(len).collect()
    }

    /// The same, the shortest first.
    fn lengths(&self) -> Vec<u64> {
        let mut sizes = self.sizes();
        sizes.sort_unstable();
        sizes
    }

    /// Appends records of a KiB until the log goes on to its next segment, and lets so much time
    /// pass with each.
    fn fill_segment(&self, log: &Wal, each: Duration) {
        let before = log.stats().segments;
        while log.stats().segments == before {
            self.clock.advance(each);
            let _lsn = log.append([7; 1000]).unwrap();
        }
    }
}

const AT_ONCE: Duration = Duration::ZERO;
const SLOWLY: Duration = Duration::from_secs(1);

#[test]
fn a_fast_log_has_long_segments_and_a_slow_one_short_ones() {
    let rig = Rig::new();
    let log = rig.open();
    assert_eq!(rig.sizes(), [16], "the first one");
    rig.fill_segment(&log, AT_ONCE);
    assert_eq!(rig.sizes(), [16, 128]);
    rig.fill_segment(&log, Duration::from_millis(1));
    assert_eq!(rig.sizes(), [16, 128, 256], "the longest");
    for _ in 0..5 {
        rig.fill_segment(&log, SLOWLY);
    }
    let sizes = rig.sizes();
    assert_eq!(sizes, [16, 128, 256, 128, 64, 32, 16, 16], "not at once");
    for _ in 0..3 {
        rig.fill_segment(&log, Duration::from_millis(70));
    }
    let sizes = rig.sizes();
    assert!(
        sizes.ends_with(&[128, 64, 64]),
        "57 KiB in four seconds: {sizes:?}"
    );
    let records = log.stats().records;
    log.close().unwrap();
    drop(log);
    assert_eq!(contents(&rig.open()).len() as u64, records);
}

/// The next segment is longer if the record that comes needs it, also if a short one is ready.
#[test]
fn a_record_that_is_longer_than_the_segments_gets_one() {
    for background in [Background::Inline, Background::Thread] {
        let rig = Rig::new();
        let log = Wal::open_with("/log", rig.options().background(background)).unwrap();
        let slow = 100 * SLOWLY;
        for _ in 0..8 {
            rig.clock.advance(slow);
            let _lsn = log.append([7; 1000]).unwrap();
        }
        log.sync().unwrap();
        while background == Background::Thread && log.stats().segments_ready == 0 {
            std::thread::yield_now();
        }
        let long = vec![1; log.max_record_bytes()];
        let lsn = log.append(&long).unwrap();
        log.sync_to(lsn).unwrap();
        let lens: Vec<_> = contents(&log).iter().map(Vec::len).collect();
        assert_eq!(lens, [&[1000; 8][..], &[long.len()]].concat());
        assert!(rig.sizes().contains(&256), "{:?}", rig.sizes());
    }
}

#[test]
fn the_next_segment_is_made_when_half_of_the_last_is_filled() {
    for background in [Background::Thread, Background::Shared] {
        let rig = Rig::new();
        let log = Wal::open_with("/log", rig.options().background(background)).unwrap();
        for _ in 0..7 {
            let _lsn = log.append([7; 1000]).unwrap();
            log.sync().unwrap();
        }
        assert!(log.end_lsn().get() > 10 * KIB, "half of it");
        while log.stats().segments_ready == 0 {
            std::thread::yield_now();
        }
        log.close().unwrap();
        drop(log);
        // It is found by the next instance, which makes no other.
        let log = Wal::open_with("/log", rig.options().background(background)).unwrap();
        assert_eq!(log.stats().segments_ready, 1);
        assert_eq!(rig.sizes().len(), 2);
    }
}

#[test]
fn a_log_below_the_middle_of_its_segment_has_no_other() {
    let rig = Rig::new();
    let options = rig.options().background(Background::Thread);
    let log = Wal::open_with("/log", options).unwrap();
    let lsn = log.append("short").unwrap();
    log.sync_to(lsn).unwrap();
    log.close().unwrap();
    assert_eq!(rig.sizes(), [16]);
}

/// A truncated file that is too long is cut to what is wanted, one that is too short is removed.
#[test]
fn recycled_files_are_cut_and_outgrown_ones_removed() {
    let rig = Rig::new();
    let log = rig.open();
    for _ in 0..3 {
        rig.fill_segment(&log, AT_ONCE);
    }
    log.sync().unwrap();
    log.truncate_before(log.durable_lsn()).unwrap();
    let kept = contents(&log).len() as u64;
    let before = log.stats().records;
    assert_eq!(
        rig.lengths(),
        [16, 128, 256, 256],
        "three wait for recycling"
    );
    rig.fill_segment(&log, SLOWLY);
    assert_eq!(
        rig.lengths(),
        [16, 128, 256, 256],
        "one of them is as wanted"
    );
    rig.fill_segment(&log, SLOWLY);
    assert_eq!(rig.lengths(), [16, 64, 128, 256], "the longest was cut");
    assert_eq!(log.stats().disk_bytes, 464 * KIB);
    rig.fill_segment(&log, AT_ONCE);
    assert_eq!(
        rig.lengths(),
        [64, 128, 256, 256],
        "the shortest was too short"
    );
    assert_eq!(log.stats().disk_bytes, 704 * KIB);
    log.sync().unwrap();
    assert_eq!(
        contents(&log).len() as u64,
        kept + log.stats().records - before
    );
}

#[derive(Debug, Clone)]
enum Op {
    Append { size: usize, after_ms: u64 },
    Control,
    Sync,
    Truncate,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..6_000_usize, prop_oneof![Just(0), 0..50_u64, 1_000..60_000_u64])
            .prop_map(|(size, after_ms)| Op::Append { size, after_ms }),
        1 => (20_000..60_000_usize).prop_map(|size| Op::Append { size, after_ms: 0 }),
        2 => Just(Op::Control),
        3 => Just(Op::Sync),
        1 => Just(Op::Truncate),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(saved_seeds::config(64, env!("CARGO_MANIFEST_DIR"), "growth"))]

    /// Whatever sizes segments have: the files stay within the bound and are what is counted,
    /// ordinary records use all that is not the reserve, control records find room, and truncating
    /// everything makes room again.
    #[test]
    fn a_bounded_log_uses_its_room_and_no_more(
        ops in proptest::collection::vec(op(), 1..400), max in 256..600_u64, smallest in 2..16_u64, threads in any::<bool>(),
    ) {
        let rig = Rig::new();
        let (largest, smallest, max) = (64 * KIB, smallest * 4 * KIB, max * KIB);
        let options = || {
            let background = if threads { Background::Thread } else { Background::Inline };
            let sizes = rig.options().min_segment_size(smallest).segment_size(largest);
            sizes.max_bytes(max).background(background)
        };
        let mut log = Wal::open_with("/log", options()).unwrap();
        // The last step makes sure of a full log, and of what follows.
        let fill = (0..2_000).map(|_| Op::Append { size: 900, after_ms: 0 });
        let (mut expected, mut full) = (Vec::new(), false);
        for op in ops.into_iter().chain(fill) {
            match op {
                Op::Append { size, after_ms } => {
                    rig.clock.advance(Duration::from_millis(after_ms));
                    match log.append(vec![7; size]) {
                        Ok(_) => expected.push(size),
                        Err(WalError::LogFull { used_bytes, .. }) => {
                            full = true;
                            let room = max - largest - used_bytes.min(max - largest);
                            let needed = (size as u64 + 3 * 4096).max(smallest).min(largest);
                            prop_assert!(room < needed + 4096, "{room} bytes are left for {size}");
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                Op::Control => match log.append_control(StreamId(0), [1; 10]) {
                    Ok(_) => expected.push(10),
                    Err(error) => panic!("a control record finds no room: {error}"),
                },
                Op::Sync => log.sync().unwrap(),
                Op::Truncate => {
                    log.sync().unwrap();
                    log.truncate_before(log.durable_lsn()).unwrap();
                }
                Op::Reopen => {
                    log.close().unwrap();
                    drop(log);
                    log = Wal::open_with("/log", options()).unwrap();
                    // A thread may be making a segment, which is counted before it is there.
                    if !threads {
                        let there = rig.sizes().iter().sum::<u64>() * KIB;
                        prop_assert_eq!(log.stats().disk_bytes, there);
                    }
                }
            }
            prop_assert!(log.stats().disk_bytes <= max);
        }
        prop_assert!(full, "the log has a bound");
        log.sync().unwrap();
        let lens: Vec<_> = contents(&log).iter().map(Vec::len).collect();
        prop_assert_eq!(&expected[expected.len() - lens.len()..], &lens[..]);
        log.truncate_before(log.durable_lsn()).unwrap();
        log.wait_for_room().unwrap();
        let _lsn = log.append(vec![7; log.max_record_bytes()]).unwrap();
    }
}
