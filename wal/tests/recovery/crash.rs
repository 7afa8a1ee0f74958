//! Power cuts, kills and lying page caches: the property test of the log, on the simulated disk.

use crate::common::model::{
    Op, PATHS, Stop, World, cut_everywhere, cut_everywhere_in, cut_everywhere_with,
};
use crate::saved_seeds;
use highwater_wal::disk::{Clock, Notify, WaitResult};
use highwater_wal::{Cheat, Options, WritePath};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn op() -> impl Strategy<Value = Op> {
    let thread = 0..4_usize;
    prop_oneof![
        8 => (thread.clone(), 0..900_usize).prop_map(|(thread, size)| Op::Append { thread, size }),
        2 => (thread.clone(), 0..3_usize).prop_map(|(thread, _)| Op::Append { thread, size: 3900 }),
        3 => (thread.clone(), proptest::collection::vec(0..600_usize, 0..4))
            .prop_map(|(thread, sizes)| Op::Batch { thread, sizes: sizes.into_iter().chain([8]).collect() }),
        1 => Just(Op::Control),
        4 => thread.prop_map(|thread| Op::SyncTo { thread }),
        2 => Just(Op::Sync),
        2 => (0..130_u64).prop_map(|percent| Op::Truncate { percent }),
        1 => Just(Op::Read),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        1 => Just(Op::FailedSync),
        3 => (0..2_usize, 0..120_u64, any::<bool>())
            .prop_map(|(which, percent, commit)| Op::Cursor { which, percent, commit }),
        1 => (0..2_usize).prop_map(|which| Op::RemoveCursor { which }),
        2 => (0..100_u64, 0..130_u64).prop_map(|(percent, until)| Op::Void { percent, until }),
    ]
}

fn program() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(op(), 1..24)
}

/// `PROPTEST_CASES` makes it longer.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(40, |n| n.parse().unwrap())
}

proptest! {
    #![proptest_config(saved_seeds::config(cases(), env!("CARGO_MANIFEST_DIR"), "crash"))]

    /// F1, F4-F11, F17, F53: cut before every mutation of a random program, with random sectors
    /// surviving: what was acknowledged is there, in order, nothing else, and what was shown stays.
    #[test]
    fn every_cut_of_every_program_keeps_the_promises(program in program(), after in program(), seed in 0..1000_u64) {
        cut_everywhere(Cheat::None, &program, &after, seed..seed + 3).map_err(TestCaseError::fail)?;
    }

    /// F1, F4-F11, F84: the same with batches compressed.
    #[test]
    fn every_cut_of_every_compressed_program_keeps_the_promises(program in program(), after in program(), seed in 0..1000_u64) {
        let new = || World::new(Cheat::None, WritePath::Direct).compressed();
        cut_everywhere_in(new, &program, &after, seed..seed + 2).map_err(TestCaseError::fail)?;
    }

    /// F1, F4-F11: the same with notes in `LOG` all the time, groups sealed, or both, and with
    /// segments of several sizes. (Apart each was tried; together a clean close left a log that was
    /// refused.)
    #[test]
    fn every_cut_of_every_noted_and_sealed_program_keeps_the_promises(
        program in program(), after in program(), seed in 0..1000_u64, which in 0..4_usize, path in 0..2_usize,
    ) {
        let new = || World::new(Cheat::None, PATHS[path]).with(SETTINGS[which]);
        cut_everywhere_in(new, &program, &after, seed..seed + 2).map_err(TestCaseError::fail)?;
    }
}

/// The log thinks that each step takes a while, so that its segments grow and shrink.
#[derive(Debug, Default)]
struct SteppingClock(AtomicU64);

impl Clock for SteppingClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(150, Ordering::Relaxed))
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn wait(&self, _: &Arc<Notify>, _: Option<Duration>) -> WaitResult {
        unreachable!("a log without threads waits for nothing")
    }
}

const SETTINGS: [fn(Options) -> Options; 4] = [
    |options| options.progress_interval(500),
    |options| options.segment_size(32 << 10).seal_groups(4096),
    |options| {
        let options = options.segment_size(32 << 10).seal_groups(4096);
        options.progress_interval(500)
    },
    |options| {
        let options = options.min_segment_size(8 << 10).segment_size(64 << 10);
        options.clock(Arc::new(SteppingClock::default()))
    },
];

fn append(thread: usize) -> Op {
    Op::Append { thread, size: 700 }
}

/// A program that meets every mechanism: several threads, rotation, truncation, recycling, every
/// kind of restart.
fn busy_program() -> Vec<Op> {
    let mut program = Vec::new();
    for round in 0..12_usize {
        program.extend([
            append(round % 4),
            append((round + 1) % 4),
            Op::SyncTo { thread: round % 4 },
        ]);
        if round % 3 == 2 {
            program.push(Op::Truncate { percent: 100 });
        }
    }
    program.extend([
        Op::Kill,
        append(0),
        Op::Read,
        Op::FailedSync,
        append(1),
        Op::Sync,
        Op::Reopen,
        append(2),
    ]);
    program
}

#[test]
fn the_busy_program_survives_every_cut() {
    for seed in saved_seeds::seeds(0..10) {
        let (program, seeds) = (busy_program(), seed..seed + 1);
        let cuts = cut_everywhere(Cheat::None, &program, &program, seeds).unwrap();
        assert!(cuts > 100, "{cuts}");
    }
}

/// The model's records are such that compression has something to do, and a cheat is caught behind
/// it too.
#[cfg(feature = "zstd")]
#[test]
fn the_busy_program_survives_every_cut_compressed() {
    let new = |cheat| move || World::new(cheat, WritePath::PageCache).compressed();
    for seed in saved_seeds::seeds(0..5) {
        let (program, seeds) = (busy_program(), seed..seed + 1);
        cut_everywhere_in(new(Cheat::None), &program, &program, seeds).unwrap();
    }
    let mut world = new(Cheat::None)();
    let log = world.open().unwrap().unwrap();
    let mut log = Some(log);
    for op in [append(0), append(1), append(2)] {
        assert!(world.step(&mut log, &op).unwrap());
    }
    assert_eq!(log.unwrap().stats().batches_compressed, 3);
    let early = [append(0), Op::SyncTo { thread: 0 }, append(1)];
    assert!(cut_everywhere_in(new(Cheat::AckBeforeSync), &early, &[], 0..30).is_err());
}

/// F2, F12: a power cut before every mutation of the recovery itself.
#[test]
fn recovery_cut_short_anywhere_recovers() {
    let round = [
        append(0),
        Op::Sync,
        append(1),
        append(2),
        Op::Batch {
            thread: 0,
            sizes: vec![600; 4],
        },
    ];
    let mut program = [round.clone(), round.clone(), round].concat();
    program.push(Op::Kill);
    program.extend([append(3), append(2), append(1)]);
    let recoveries: u64 = (0..200).map(|cut| cut_recovery(&program, cut, 3)).sum();
    assert!(recoveries > 300, "{recoveries}");
}

/// The same when un-synced frames span several segments: those behind the new end go, in an order
/// that leaves no gap.
#[test]
fn recovery_from_a_tail_of_several_segments_cut_short_anywhere_recovers() {
    let program = vec![
        Op::Append {
            thread: 0,
            size: 2500
        };
        8
    ];
    let recoveries = cut_recovery(&program, u64::MAX >> 1, 100);
    assert!(recoveries > 1000 || !saved_seeds::all_seeds());
}

/// Cuts the power before mutation `cut` of the program, and then before every mutation of the
/// recovery. Tells how many recoveries that were.
fn cut_recovery(program: &[Op], cut: u64, seeds: u64) -> u64 {
    PATHS
        .iter()
        .map(|path| cut_recovery_on(*path, program, cut, seeds))
        .sum()
}

fn cut_recovery_on(path: WritePath, program: &[Op], cut: u64, seeds: u64) -> u64 {
    let mut recoveries = 0;
    let mut world = World::new(Cheat::None, path);
    world.cut_before(cut);
    let _ = world.run(program).unwrap();
    world.sim.cut_power_now();
    for seed in saved_seeds::seeds(0..seeds) {
        for again in 0.. {
            let mut second = world.fork(world.sim.restart_after_power_cut(seed));
            second.cut_before(again);
            let opened = second.open().unwrap().is_some();
            second.sim.cut_power_now();
            let at = |e| format!("cut {cut}, seed {seed}, {again}: {e}");
            second.reboot(seed + again).map_err(at).unwrap();
            recoveries += 1;
            if opened {
                break;
            }
        }
    }
    recoveries
}

/// What a rig cannot catch it does not test: each of these logs is broken on purpose, and the
/// checks must object.
fn assert_caught(cheat: Cheat, program: &[Op], after: &[Op]) {
    assert!(
        cut_everywhere(cheat, program, after, 0..30).is_err(),
        "{cheat:?} was not caught"
    );
    cut_everywhere(Cheat::None, program, after, 0..3).expect("without the cheat all is well");
}

/// F15: acknowledging before the sync is caught.
#[test]
fn the_cheat_of_acknowledging_before_the_sync_is_caught() {
    assert_caught(
        Cheat::AckBeforeSync,
        &[append(0), Op::SyncTo { thread: 0 }, append(1)],
        &[],
    );
}

/// F8, F17: showing the tail after a failed sync without writing it again is caught.
#[test]
fn the_cheat_of_showing_the_tail_without_rewriting_it_is_caught() {
    assert_caught(
        Cheat::ShowWithoutRewrite,
        &[append(0), Op::FailedSync, Op::Read],
        &[],
    );
}

/// F9: leaving intact frames behind the cut is caught, because they rise again.
#[test]
fn the_cheat_of_leaving_stale_frames_is_caught() {
    let torn: Vec<_> = (0..6).map(|thread| append(thread % 4)).collect();
    // Together with the durable-LSN records of so many recoveries the new frame ends in front of an
    // old one.
    let caught = |cheat| {
        (0..4).any(|records| {
            let exact = [
                Op::Append {
                    thread: 0,
                    size: 700 - 24 * records,
                },
                Op::Sync,
            ];
            let plain = |options: Options| options.timestamps(false);
            cut_everywhere_with(plain, cheat, &torn, &exact, 0..40).is_err()
        })
    };
    assert!(caught(Cheat::LeaveStaleFrames), "not caught");
    assert!(!caught(Cheat::None), "without the cheat all is well");
}

/// F9: in logs whose writes are shorter than what is appended between two syncs, recovery searches
/// behind the end only as far as one write can reach. That is far enough, and a shorter search is
/// caught.
///
/// Direct writes end with zeros to the end of a page. So what is left behind the end rises again
/// only if it begins with a page and what is appended next ends there: frames of a quarter of a
/// page, one of them less the durable-LSN record.
#[test]
fn a_search_that_ends_before_the_last_write_can_is_caught() {
    const WRITE: u64 = 3 * 4096;
    let quarter = |less: usize| Op::Append {
        thread: 0,
        size: 1024 - 24 - less, // what a batch of one takes besides
    };
    let mut torn = vec![quarter(0); 16];
    torn.push(Op::Sync);
    let mut two_pages = vec![quarter(24)];
    two_pages.extend(vec![quarter(0); 7]);
    two_pages.push(Op::Sync);
    let check = |cheat| -> Result<u32, String> {
        let mut torn_writes = 0;
        for cut in 0.. {
            let mut world = World::new(cheat, WritePath::Direct).with(|options| {
                let options = options.segment_size(64 << 10).longest_write(WRITE);
                options.max_record_bytes(1008).timestamps(false)
            });
            world.cut_before(cut);
            let stop = world.run(&torn).unwrap();
            if stop == Stop::Finished {
                return Ok(torn_writes);
            }
            let first = world.sim.read_file("/log/00000000000000000000.wal");
            if first.is_none_or(|bytes| bytes.iter().skip(4096).all(|byte| *byte == 0)) {
                continue; // nothing was being written
            }
            torn_writes += 1;
            for seed in saved_seeds::seeds(0..400) {
                let mut second = world.fork(world.sim.clone());
                let again = second.reboot(seed).and_then(|()| second.run(&two_pages));
                again.and_then(|_| second.reboot(seed))?;
            }
        }
        unreachable!("a program has an end")
    };
    assert_eq!(check(Cheat::None), Ok(2), "the search goes far enough");
    let error = check(Cheat::ShortReach(WRITE - 4096)).unwrap_err();
    assert!(error.ends_with("frames shown, 8 appended"), "{error}");
}

/// F10: removing segments before the new start of the log is durable is caught.
#[test]
fn the_cheat_of_unlinking_before_the_meta_file_is_caught() {
    let mut program = vec![append(0); 24];
    program.extend([Op::Sync, Op::Truncate { percent: 100 }]);
    assert_caught(Cheat::UnlinkBeforeControl, &program, &[]);
}
