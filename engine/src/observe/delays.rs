//! How long batches wait for their turn.

use crate::batch::Batch;
use std::collections::VecDeque;
use std::time::Duration;

/// When the cuts of the batches that wait were made.
#[derive(Debug, Default)]
pub(crate) struct SchedulingDelays {
    /// The last batch of a cut, and when it was made; ascending.
    cuts: VecDeque<(u64, Duration)>,
}

impl SchedulingDelays {
    /// A cut that ends with `last` was made at `now`.
    pub(crate) fn was_cut(&mut self, last: &Batch, now: Duration) {
        self.cuts.push_back((last.id, now));
    }

    /// How long `batch`, which begins at `now`, has waited after its cut; zero if the cut was
    /// made before the start. Batches come in order.
    pub(crate) fn of(&mut self, batch: &Batch, now: Duration) -> Duration {
        while let Some((last, made)) = self.cuts.front().copied() {
            if last == batch.id {
                self.cuts.pop_front();
            }
            if last >= batch.id {
                return now.saturating_sub(made);
            }
            self.cuts.pop_front();
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_wal::Lsn;

    #[test]
    fn a_batch_waits_from_its_cut_to_its_turn() {
        let batch = |id| Batch {
            id,
            time_ms: 0,
            from: Lsn::ZERO,
            to: Lsn::ZERO,
        };
        let seconds = Duration::from_secs;
        let mut delays = SchedulingDelays::default();
        assert_eq!(delays.of(&batch(1), seconds(9)), seconds(0));
        delays.was_cut(&batch(4), seconds(10)); // implies 2 and 3
        delays.was_cut(&batch(5), seconds(11));
        for (id, turn, waited) in [(2, 10, 0), (3, 12, 2), (4, 13, 3), (5, 20, 9), (6, 20, 0)] {
            assert_eq!(
                delays.of(&batch(id), seconds(turn)),
                seconds(waited),
                "{id}"
            );
        }
        assert!(delays.cuts.is_empty());
    }
}
