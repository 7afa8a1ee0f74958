//! When the child is killed.

use highwater::disk::sim::Rng;
use std::time::Duration;

/// No kill falls into the first or the last of so many parts of the run.
const MARGIN: u64 = 20;
/// A kill follows the acknowledgement that triggers it after a shorter delay than this. The delay
/// decides into which phase of a commit, a batch or a checkpoint the kill falls.
const MAX_DELAY_US: u64 = 1000;
/// A kill during a recovery falls between these thousandths of the time that a start takes. Earlier
/// the child does not run yet, later it may have recovered.
const EARLIEST_PER_MILLE: u64 = 150;
const LATEST_PER_MILLE: u64 = 700;

/// A planned kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    /// Under load.
    UnderLoad(KillPoint),
    /// While the child recovers from the kill before: after so many thousandths of the time that
    /// its last start took.
    DuringRecovery { per_mille: u64 },
}

/// The moment of a kill under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KillPoint {
    /// Once so many lines are acknowledged ...
    pub(crate) acknowledged: u64,
    /// ... and a little later.
    pub(crate) delay: Duration,
    pub(crate) answers: Answers,
}

/// What happens to the acknowledgements that are on their way at a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// They arrive: every one of them must turn out to be true.
    Arrive,
    /// They are lost: durable lines are sent once more and must be recognised.
    Lost,
}

/// Plans `count` kills over a run of `lines` lines, in order. If there are at least two, one comes
/// during a recovery.
pub(crate) fn plan(count: u32, lines: u64, rng: &mut Rng) -> Vec<Kill> {
    let recovering = u64::from(count > 1);
    let under_load = u64::from(count) - recovering;
    let (first, span) = (lines / MARGIN, lines - lines / MARGIN * 2);
    let mut kills: Vec<Kill> = (0..under_load)
        .map(|index| {
            // One in each part of equal length, so that every life of the child gets something
            // done.
            let (from, to) = (span * index / under_load, span * (index + 1) / under_load);
            Kill::UnderLoad(KillPoint {
                acknowledged: first + from + below(rng, to - from),
                delay: Duration::from_micros(rng.below(MAX_DELAY_US)),
                answers: if index.is_multiple_of(2) {
                    Answers::Lost
                } else {
                    Answers::Arrive
                },
            })
        })
        .collect();
    if recovering == 1 {
        let after = usize::try_from(1 + below(rng, under_load)).unwrap_or(1);
        kills.insert(
            after,
            Kill::DuringRecovery {
                per_mille: EARLIEST_PER_MILLE + rng.below(LATEST_PER_MILLE - EARLIEST_PER_MILLE),
            },
        );
    }
    kills
}

/// A number below `bound`; 0 if that is 0.
fn below(rng: &mut Rng, bound: u64) -> u64 {
    rng.next_u64().checked_rem(bound).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(kills: &[Kill]) -> Vec<u64> {
        let of = |kill: &Kill| match kill {
            Kill::UnderLoad(point) => Some(point.acknowledged),
            Kill::DuringRecovery { .. } => None,
        };
        kills.iter().filter_map(of).collect()
    }

    #[test]
    fn kills_are_spread_over_the_run_and_one_comes_in_a_recovery() {
        for seed in 0..200 {
            let kills = plan(5, 100_000, &mut Rng::new(seed));
            let points = points(&kills);
            assert_eq!((kills.len(), points.len()), (5, 4), "{kills:?}");
            assert!(
                points.is_sorted() && points[0] >= 5_000 && points[3] <= 95_000,
                "{points:?}"
            );
            assert!(
                !matches!(kills[0], Kill::DuringRecovery { .. }),
                "there is something to recover"
            );
        }
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let with = |seed| plan(5, 100_000, &mut Rng::new(seed));
        assert_eq!(with(1), with(1));
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn tiny_runs_have_their_kills_too() {
        for lines in 0..30 {
            let kills = plan(3, lines, &mut Rng::new(lines));
            assert_eq!(kills.len(), 3);
            assert!(points(&kills).iter().all(|p| *p <= lines), "{kills:?}");
        }
    }
}
