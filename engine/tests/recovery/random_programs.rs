//! Random lives of a program on the simulated disk: lines, batches, checkpoints, graceful stops,
//! crashes of the process, and the power cut before any disk operation, with a random subset of the
//! un-synced sectors surviving. Deterministic by seed.

use crate::common;
use crate::common::{builder, sorted};
use crate::saved_seeds;
use highwater_engine::wal::disk::SimDisk;
use highwater_engine::{CheckpointPolicy, Result, StopMode, StreamingContext};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A step of a life.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Send so many lines; each is acknowledged before the next.
    Send(u8),
    /// Cut a batch and run it.
    Batch,
    /// Stop gracefully, with a final checkpoint, and start again.
    Stop,
    /// Go away without a word and start again.
    Vanish,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u8..6).prop_map(Step::Send),
        4 => Just(Step::Batch),
        1 => Just(Step::Stop),
        1 => Just(Step::Vanish),
    ]
}

/// A program and what its client knows.
struct Life {
    workers: usize,
    every: u64,
    seen: common::Seen,
    /// Lines that were acknowledged; the next one to send has this number.
    acknowledged: u64,
}

fn line(number: u64) -> String {
    format!("all m{} {}", number % 7, "pad".repeat(60))
}

impl Life {
    fn start(&self, disk: &SimDisk) -> Result<StreamingContext> {
        let seen = Arc::clone(&self.seen);
        let builder =
            builder(disk, self.workers).checkpoint(CheckpointPolicy::every_batches(self.every));
        let context = builder.get_or_create(move |ssc| {
            common::word_count(ssc).for_each_batch(
                "collect",
                move |batch, records: Vec<(String, u64)>| {
                    let again = seen.lock().insert(batch.id, records.clone());
                    assert!(
                        again.is_none_or(|first| first == records),
                        "{batch} ran again with another result"
                    );
                },
            );
            Ok(())
        })?;
        context.start()?;
        Ok(context)
    }

    fn send(&mut self, context: &StreamingContext, lines: u64) -> Result<()> {
        let input = context.input::<String>("lines")?;
        for number in self.acknowledged..self.acknowledged + lines {
            // The client resends what was not acknowledged, with the same number.
            input.send_once("client", number, &line(number))?.wait()?;
            self.acknowledged = number + 1;
        }
        Ok(())
    }

    fn run(&mut self, disk: &SimDisk, steps: &[Step]) -> Result<()> {
        let mut context = self.start(disk)?;
        for step in steps {
            match step {
                Step::Send(lines) => self.send(&context, u64::from(*lines))?,
                Step::Batch => drop(context.run_batch()?),
                Step::Stop | Step::Vanish => {
                    if matches!(step, Step::Stop) {
                        context.stop(StopMode::Graceful)?;
                    }
                    drop(context);
                    context = self.start(disk)?;
                }
            }
        }
        Ok(())
    }

    /// Everything acknowledged is counted, and counted once; a line on its way at the crash is
    /// resent.
    fn check(&mut self, disk: &SimDisk) {
        let context = self.start(disk).unwrap();
        self.send(&context, 1).unwrap();
        let batch = context.run_batch().unwrap();
        let mut expected = BTreeMap::<String, u64>::new();
        for number in 0..self.acknowledged {
            for word in line(number).split_whitespace() {
                *expected.entry(word.to_owned()).or_default() += 1;
            }
        }
        assert_eq!(
            sorted(&self.seen.lock()[&batch.id]),
            expected.into_iter().collect::<Vec<_>>()
        );
    }
}

fn life(workers: usize, every: u64) -> Life {
    Life {
        workers,
        every,
        seen: common::Seen::default(),
        acknowledged: 0,
    }
}

proptest! {
    #![proptest_config(saved_seeds::config(40, env!("CARGO_MANIFEST_DIR"), "random_programs"))]

    #[test]
    fn any_life_survives_a_power_cut_anywhere(
        steps in prop::collection::vec(step(), 1..14),
        more in prop::collection::vec(step(), 0..6),
        workers in 1_usize..3,
        every in 1_u64..4,
        seed in any::<u64>(),
    ) {
        let disk = SimDisk::new();
        life(workers, every).run(&disk, &steps).unwrap();
        let mutations = disk.mutations();
        // Before every operation, in a stride that covers all of them over the cases.
        let stride = 1 + mutations / 24;
        for cut in (seed % stride..mutations).step_by(usize::try_from(stride).unwrap()) {
            let mut life = life(workers, every);
            let disk = SimDisk::new();
            disk.cut_power_before(cut);
            let _ = life.run(&disk, &steps);
            let disk = disk.restart_after_power_cut(seed ^ cut);
            // A second life, then the process is killed: what it showed stays.
            life.workers = 3 - workers;
            life.run(&disk, &more).unwrap();
            let disk = disk.kill_process();
            life.check(&disk);
        }
    }
}
