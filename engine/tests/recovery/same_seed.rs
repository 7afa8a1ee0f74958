//! The same seed gives the same run of a whole program: batches, checkpoints, a power cut,
//! recovery. Two runs make the same disk calls in the same order and leave the same bytes after
//! each. With two workers the order in which they read is theirs; what is written is the same. (The
//! state file of a checkpoint held the key groups in the order in which the workers came.)

use crate::common::{builder, word_count};
use crate::saved_seeds;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::wal::disk::sim::Rng;
use highwater_engine::{CheckpointPolicy, Result, StopMode, StreamingContext};

fn start(disk: &SimDisk, workers: usize) -> Result<StreamingContext> {
    let builder = builder(disk, workers)
        .seed(1)
        .checkpoint(CheckpointPolicy::every_batches(2));
    let context = builder.get_or_create(|ssc| {
        word_count(ssc).for_each_batch("collect", |_, _: Vec<(String, u64)>| ());
        Ok(())
    })?;
    context.start()?;
    Ok(context)
}

/// Random lines and batches, and restarts in between.
fn live(disk: &SimDisk, workers: usize, rng: &mut Rng) -> Result<()> {
    let mut context = start(disk, workers)?;
    for _ in 0..24 {
        match rng.below(8) {
            0..=4 => {
                let line = format!("w{} w{} {}", rng.below(9), rng.below(9), "x".repeat(60));
                context.input::<String>("lines")?.send(&line)?.wait()?;
            }
            5 | 6 => drop(context.run_batch()?),
            _ => {
                context.stop(StopMode::Graceful)?;
                drop(context);
                context = start(disk, workers)?;
            }
        }
    }
    Ok(())
}

/// Whether a call changes nothing: workers read at the same time, in any order.
fn only_reads(line: &str) -> bool {
    let calls = ["Len ", "List ", "MapRead ", "Open ", "Populate ", "Read "];
    calls.iter().any(|call| line.starts_with(call))
}

/// Two lives with a power cut in the first, all by `seed`: every disk call of both.
fn trace(seed: u64, workers: usize) -> Vec<String> {
    let mut rng = Rng::new(seed);
    let disk = SimDisk::new();
    disk.record_trace();
    disk.cut_power_before(40 + rng.below(80));
    let _ = live(&disk, workers, &mut rng);
    disk.cut_power_now();
    let disk = disk.restart_after_power_cut(seed);
    live(&disk, workers, &mut rng).unwrap();
    let mut trace = disk.trace();
    trace.retain(|line| workers == 1 || !only_reads(line));
    trace
}

#[test]
fn two_runs_of_a_seed_make_the_same_calls() {
    for workers in [1, 2] {
        for seed in saved_seeds::seeds(0..10) {
            let (first, second) = (trace(seed, workers), trace(seed, workers));
            let checkpoints = first.iter().filter(|line| line.contains("manifest-"));
            assert!(checkpoints.count() > 0, "checkpoints are in it");
            for (number, (one, other)) in first.iter().zip(&second).enumerate() {
                assert_eq!(one, other, "{workers} workers, seed {seed}, call {number}");
            }
            assert_eq!(first.len(), second.len(), "{workers} workers, seed {seed}");
        }
    }
}
