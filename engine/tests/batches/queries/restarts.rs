//! After a crash no answer goes back.

use super::gate::{Keeper, gated};
use super::{Addition, add_at, open_with};
use crate::common::builder;
use crate::common::moving::move_until;
use highwater_engine::wal::Lsn;
use highwater_engine::wal::disk::{ManualClock, SimDisk};
use highwater_engine::{Answer, BatchMode, CheckpointPolicy, Error, StopMode};
use std::sync::Arc;
use std::time::Duration;

/// What a client has seen and been told so far.
#[derive(Default)]
struct Client {
    batch: Option<u64>,
    lsn: Option<Lsn>,
    sum: i64,
    acknowledged: i64,
}

impl Client {
    fn sees(&mut self, answer: &Answer<Option<i64>>) {
        assert!(!answer.recovering);
        assert!(
            answer.batch >= self.batch,
            "{:?} after {:?}",
            answer.batch,
            self.batch
        );
        assert!(Some(answer.lsn) >= self.lsn);
        let sum = answer.value.unwrap_or(0);
        assert!(sum >= self.sum, "{sum} after {}", self.sum);
        if answer.batch == self.batch {
            assert_eq!(sum, self.sum, "the same batch is the same answer");
        }
        (self.batch, self.lsn, self.sum) = (answer.batch, Some(answer.lsn), sum);
    }
}

fn run(disk: &SimDisk, workers: usize, client: &mut Client) -> Result<(), Error> {
    let context = open_with(builder(disk, workers))?;
    context.start()?;
    let sums = context.state::<String, i64>("sums")?;
    client.sees(&sums.get("a")?);
    let input = context.input::<Addition>("added")?;
    // Never a multiple of ten in all.
    for number in [1, 10, 10, 10, 10, 10] {
        let ack = input.send(&("a".to_owned(), number))?;
        let lsn = ack.lsn();
        ack.wait()?;
        client.acknowledged += number;
        context.run_batch()?;
        let answer = sums.at_least(lsn)?.get("a")?;
        // All that was ever acknowledged came before this record.
        assert!(answer.value.unwrap_or(0) >= client.acknowledged);
        client.sees(&answer);
    }
    context.stop(StopMode::Graceful)
}

/// The power fails before each operation of the disk, twice. What was shown before is shown after.
#[test]
fn no_answer_goes_back_after_a_power_cut() {
    for workers in [1, 2] {
        for cut in (0..).step_by(3 * workers - 2) {
            let (mut disk, mut client) = (SimDisk::new(), Client::default());
            let mut ended = false;
            for (after, seed) in [(cut, cut), (cut % 80, cut + 7)] {
                disk.cut_power_before(disk.mutations() + after);
                ended = run(&disk, workers, &mut client).is_ok();
                if ended {
                    break;
                }
                disk = disk.restart_after_power_cut(seed);
            }
            if ended {
                break;
            }
            run(&disk, workers, &mut client).unwrap();
        }
    }
}

/// While batches are replayed that were shown before the crash, a question waits, or is told.
#[test]
fn what_is_older_than_before_the_crash_is_shown_to_those_who_ask_for_it() {
    let (mut disk, clock) = (
        SimDisk::new(),
        Arc::new(ManualClock::new(1_700_000_000_000)),
    );
    let keeper = Keeper::new();
    let start = |disk: &SimDisk| {
        let context = builder(disk, 1)
            .clock(Arc::<ManualClock>::clone(&clock))
            .batches(BatchMode::Clock)
            .checkpoint(CheckpointPolicy::every_batches(1000))
            .get_or_create(gated(&keeper.gate))
            .unwrap();
        let sums = context.state::<String, i64>("sums").unwrap();
        context.start().unwrap();
        (context, sums)
    };
    let (context, sums) = start(&disk);
    let mut shown = Vec::new();
    for _ in 0..4 {
        let lsn = add_at(&context, "slow", 1);
        move_until(&clock, Duration::from_secs(1), || {
            let impatient = sums.clone().timeout(Duration::ZERO);
            impatient.at_least(lsn).is_ok()
        });
        shown.push(sums.get("slow").unwrap());
    }
    disk = disk.kill_process();
    drop((context, sums));
    keeper.shut();
    let (_context, sums) = start(&disk);
    keeper.arrives.recv().unwrap();
    let impatient = sums.clone().timeout(Duration::from_millis(1));
    let text = impatient.get("slow").unwrap_err().to_string();
    assert!(text.contains("still replayed, up to batch"), "{text}");
    let early = impatient.while_recovering();
    let answer = early.get("slow").unwrap();
    assert!(answer.recovering && answer.value.is_none() && answer.batch < shown[3].batch);
    assert_eq!(sums.as_of().unwrap(), answer.map(drop));
    // One batch goes on, and the next one waits at the gate.
    keeper.leaves.send(()).unwrap();
    keeper.arrives.recv().unwrap();
    let answer = early.get("slow").unwrap();
    assert!(answer.recovering && answer.value == Some(1) && answer.batch >= shown[0].batch);
    keeper.open();
    let answer = sums.get("slow").unwrap();
    assert!(
        !answer.recovering && answer.batch >= shown[3].batch,
        "{answer:?}"
    );
    assert_eq!(answer.value, Some(4));
}
