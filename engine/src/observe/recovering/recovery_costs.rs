//! What a recovery costs: loading a checkpoint, and running the batches after it again.

use crate::observe::recovering::pace::Pace;
use std::time::Duration;

/// What a recovery costs, as far as it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RecoveryCosts {
    /// Loading the newest checkpoint.
    pub(crate) load: Duration,
    /// From the beginning of a checkpoint to its publication, as for the newest one.
    pub(crate) writing: Duration,
    pub(crate) pace: Pace,
}

impl RecoveryCosts {
    /// Loads the newest checkpoint, and runs `batches` batches with `bytes` bytes of log.
    pub(crate) fn of(&self, batches: u64, bytes: u64) -> Duration {
        self.with(batches as f64, bytes as f64)
    }

    /// A crash just before the publication of the checkpoint after the next batch, if none is taken
    /// now: `batches` and `bytes` since the newest published one, one more batch, and what comes
    /// while the next checkpoint is written.
    pub(crate) fn unless_now(&self, batches: u64, bytes: u64) -> Duration {
        let (more, more_bytes) = self.while_written();
        self.with(
            batches as f64 + 1.0 + more,
            bytes as f64 + self.pace.batch_bytes + more_bytes,
        )
    }

    /// The worst crash if one checkpoint follows the other. While one is written the next cannot
    /// begin. So just before the publication of the next one, there is since the newest one what
    /// came while that was written, a batch, and what comes while the next one is written.
    pub(crate) fn at_best(&self) -> Duration {
        let (more, more_bytes) = self.while_written();
        self.with(1.0 + 2.0 * more, self.pace.batch_bytes + 2.0 * more_bytes)
    }

    /// Batches and bytes that come while a checkpoint is written.
    fn while_written(&self) -> (f64, f64) {
        let seconds = self.writing.as_secs_f64();
        let Pace {
            batches_per_s,
            bytes_per_s,
            ..
        } = self.pace;
        (seconds * batches_per_s, seconds * bytes_per_s)
    }

    fn with(&self, batches: f64, bytes: f64) -> Duration {
        let replay = Duration::try_from_secs_f64(self.pace.replay_s(batches, bytes));
        self.load.saturating_add(replay.unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: a batch is 10 ms, a byte 1 ms; batches of 20 bytes, 5 in a second.
    #[test]
    fn a_recovery_costs_what_a_calculation_by_hand_gives() {
        let costs = RecoveryCosts {
            load: Duration::from_millis(1000),
            writing: Duration::from_millis(2000),
            pace: Pace {
                batch_s: 0.010,
                byte_s: 0.001,
                batch_bytes: 20.0,
                batches_per_s: 5.0,
                bytes_per_s: 100.0,
            },
        };
        let ms = |of: Duration| of.as_secs_f64() * 1000.0;
        let close = |found: Duration, expected: f64| {
            assert!((ms(found) - expected).abs() < 0.001, "{found:?}");
        };
        close(costs.of(0, 0), 1000.0);
        close(costs.of(7, 140), 1000.0 + 70.0 + 140.0);
        // 7 + 1 + 10 batches; 140 + 20 + 200 bytes.
        close(costs.unless_now(7, 140), 1000.0 + 180.0 + 360.0);
        // 1 + 20 batches; 20 + 400 bytes.
        close(costs.at_best(), 1000.0 + 210.0 + 420.0);
        let mut endless = costs;
        endless.pace.byte_s = f64::MAX;
        assert_eq!(endless.of(1, u64::MAX), Duration::MAX);
    }
}
