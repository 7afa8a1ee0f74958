//! Checkpoints as rarely as a recovery within a given time allows.

use crate::batch::Batch;
use crate::observe::checkpoints::CheckpointStatus;
use crate::observe::recovering::pace::PaceMeter;
use crate::observe::recovering::recovery_costs::RecoveryCosts;
use std::sync::Arc;
use std::time::Duration;

/// The time within which a recovery is to be done, and what is measured for that.
#[derive(Debug, Clone)]
pub(crate) struct RecoveryTarget {
    pub(crate) target: Duration,
    pub(crate) pace: Arc<PaceMeter>,
}

impl RecoveryTarget {
    /// Whether a checkpoint is due after `batch`; `None` if the target does not decide: not enough
    /// was measured, or it cannot be met.
    pub(crate) fn is_due(&self, batch: &Batch, status: &CheckpointStatus) -> Option<bool> {
        let (_, newest) = status.newest()?;
        let (load, writing) = status.costs()?;
        let costs = RecoveryCosts {
            load,
            writing,
            pace: self.pace.pace()?,
        };
        let batches = batch.id.saturating_sub(newest.id);
        decide(
            self.target,
            &costs,
            batches,
            batch.to.bytes_since(newest.to),
        )
    }
}

/// Whether a checkpoint is due after so many batches and bytes since the newest published one.
fn decide(target: Duration, costs: &RecoveryCosts, batches: u64, bytes: u64) -> Option<bool> {
    (costs.at_best() <= target).then(|| costs.unless_now(batches, bytes) > target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::recovering::pace::Pace;

    /// The batches after which checkpoints are taken, of batches of `bytes` bytes each. One is
    /// published `writes` batches after it was taken; until then none is taken.
    fn taken(target_ms: u64, costs: &RecoveryCosts, bytes: &[u64], writes: usize) -> Vec<usize> {
        let target = Duration::from_millis(target_ms);
        let (mut published, mut in_flight, mut taken) = (0, None, Vec::new());
        for batch in 1..=bytes.len() {
            if let Some(at) = in_flight.filter(|at| batch > at + writes) {
                (published, in_flight) = (at, None);
            }
            let since = &bytes[published..batch];
            let due = decide(target, costs, since.len() as u64, since.iter().sum());
            if due == Some(true) && in_flight.is_none() {
                taken.push(batch);
                in_flight = Some(batch);
            }
        }
        taken
    }

    fn costs(load_ms: u64, writing_ms: u64, batch_ms: f64, byte_ms: f64) -> RecoveryCosts {
        RecoveryCosts {
            load: Duration::from_millis(load_ms),
            writing: Duration::from_millis(writing_ms),
            pace: Pace {
                batch_s: batch_ms / 1000.0,
                byte_s: byte_ms / 1000.0,
                batch_bytes: 100.0,
                batches_per_s: 1.0,
                bytes_per_s: 100.0,
            },
        }
    }

    /// A batch has 100 bytes, and one comes every second. Of the target: load, then each batch.
    #[test]
    fn checkpoints_come_after_the_batches_that_a_calculation_by_hand_gives() {
        let even = [100; 20];
        for (target_ms, costs, writes, expected) in [
            // 100 ms a batch, and 1000 - 350 = 650: six batches fit, a seventh does not.
            (1000, costs(350, 0, 0.0, 1.0), 0, vec![6, 12, 18]),
            // The same if a batch costs that and its bytes nothing, and for half and half.
            (1000, costs(350, 0, 100.0, 0.0), 0, vec![6, 12, 18]),
            (1000, costs(350, 0, 50.0, 0.5), 0, vec![6, 12, 18]),
            // Two batches come while one is written, so it begins after four. Of the next four, two
            // are there when it is published.
            (1000, costs(350, 2000, 0.0, 1.0), 2, vec![4, 8, 12, 16, 20]),
            // All of the log: 20 batches fit.
            (2350, costs(350, 0, 0.0, 1.0), 0, vec![20]),
            (2550, costs(350, 0, 0.0, 1.0), 0, vec![]),
            // The least: one batch, two checkpoints of two batches each.
            (
                850,
                costs(349, 2000, 0.0, 1.0),
                2,
                vec![3, 6, 9, 12, 15, 18],
            ),
        ] {
            let found = taken(target_ms, &costs, &even, writes);
            assert_eq!(found, expected, "{target_ms} ms, {costs:?}");
        }
    }

    #[test]
    fn bytes_that_came_count_and_not_those_that_were_expected() {
        let costs = costs(0, 0, 0.0, 1.0);
        // 1000 ms: at most 900 bytes may be there, for 100 more.
        let sizes = [100, 100, 100, 700, 0, 0, 0, 900, 1, 899, 2];
        assert_eq!(taken(1000, &costs, &sizes, 0), [4, 9, 11]);
    }

    #[test]
    fn a_target_that_cannot_be_met_does_not_decide() {
        let target = Duration::from_millis(1000);
        for (costs, reachable) in [
            (costs(1000, 0, 0.0, 1.0), false),
            (costs(901, 0, 0.0, 1.0), false),
            (costs(899, 0, 0.0, 1.0), true),
            (costs(499, 2000, 0.0, 1.0), true),
            (costs(501, 2000, 0.0, 1.0), false),
        ] {
            for batches in 0..20 {
                let decided = decide(target, &costs, batches, batches * 100);
                assert_eq!(decided.is_some(), reachable, "{costs:?}");
            }
        }
    }
}
