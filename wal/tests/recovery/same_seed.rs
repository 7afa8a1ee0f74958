//! The same seed gives the same run: a failure that a simulator finds can be had again. Two runs of
//! a random program, cut and booted by the same seed, make the same disk calls in the same order,
//! and leave the same bytes after each.

use crate::common::model::{Op, PATHS, World};
use crate::saved_seeds;
use highwater_disk::ManualClock;
use highwater_disk::sim::Rng;
use highwater_wal::{Cheat, Options, WritePath};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// A random program.
fn program(rng: &mut Rng) -> Vec<Op> {
    let op = |rng: &mut Rng| {
        let thread = usize::try_from(rng.below(4)).unwrap();
        let size = usize::try_from(rng.below(900)).unwrap();
        match rng.below(10) {
            0..=3 => Op::Append { thread, size },
            4 => Op::Batch {
                thread,
                sizes: vec![size, 8, 40],
            },
            5 => Op::Control,
            6 => Op::SyncTo { thread },
            7 => Op::Sync,
            8 => Op::Truncate {
                percent: rng.below(130),
            },
            _ => Op::Reopen,
        }
    };
    (0..30).map(|_| op(rng)).collect()
}

/// Two lives with a power cut in the first, all by `seed`: every disk call of both.
fn trace(seed: u64, path: WritePath, adjust: fn(Options) -> Options) -> Vec<String> {
    let mut rng = Rng::new(seed);
    let mut world = World::new(Cheat::None, path).with(adjust);
    world.sim.record_trace();
    world.cut_before(20 + rng.below(60));
    world.run(&program(&mut rng)).unwrap();
    world.sim.cut_power_now();
    world.reboot(seed).unwrap();
    world.run(&program(&mut rng)).unwrap();
    world.sim.trace()
}

/// The time is in the log.
fn at_noon(options: Options) -> Options {
    options.clock(Arc::new(ManualClock::new(43_200_000)))
}

#[test]
fn two_runs_of_a_seed_make_the_same_calls() {
    for path in PATHS {
        for seed in saved_seeds::seeds(0..20) {
            let (first, second) = (trace(seed, path, at_noon), trace(seed, path, at_noon));
            assert!(first.len() > 60, "the trace is recorded: {}", first.len());
            for (number, (one, other)) in first.iter().zip(&second).enumerate() {
                assert_eq!(one, other, "{path:?}, seed {seed}, call {number}");
            }
            assert_eq!(first.len(), second.len(), "{path:?}, seed {seed}");
            assert_ne!(
                first,
                trace(seed + 1000, path, at_noon),
                "a seed decides what happens"
            );
        }
    }
}

/// The trace would show a run that does not follow from its seed: here the identity of the log is
/// drawn at random, and stands in every checksum.
#[test]
fn chance_that_is_not_from_the_seed_shows() {
    let random: fn(Options) -> Options =
        |options| options.log_id_seed(RandomState::new().hash_one(0));
    assert_ne!(
        trace(1, WritePath::PageCache, random),
        trace(1, WritePath::PageCache, random)
    );
}
