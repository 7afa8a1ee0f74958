//! When the child is killed.

use super::random::Random;
use std::time::Duration;

/// No kill falls into the first or the last of so many parts of the run.
const MARGIN: u64 = 20;
/// The delay behind the acknowledgement that triggers a kill is shorter than this: it decides into
/// which phase of a commit, a batch or a checkpoint the kill falls.
const MAX_DELAY_US: u64 = 1000;
/// A kill during a recovery falls between these thousandths of the time that a start takes: earlier
/// the child is not yet a program, later it may have recovered.
const EARLIEST_PER_MILLE: u64 = 150;
const LATEST_PER_MILLE: u64 = 700;

/// One moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    /// Under load.
    Feeding(Strike),
    /// While the child recovers from the kill before: after this many thousandths of the time that
    /// its last start took.
    Recovering { per_mille: u64 },
}

/// A kill under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strike {
    /// Once so many lines are acknowledged ...
    pub(crate) acknowledged: u64,
    /// ... and a little later.
    pub(crate) delay: Duration,
    pub(crate) answers: Answers,
}

/// What becomes of the acknowledgements that are on their way at a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// They arrive: every one of them must turn out to be true.
    Arrive,
    /// They are lost: durable lines are sent once more and must be recognised.
    Lost,
}

/// `count` kills over a run of `lines` lines, in order. If there are at least two, one strikes
/// during a recovery.
pub(crate) fn kills(count: u32, lines: u64, random: &mut Random) -> Vec<Kill> {
    let recovering = u64::from(count > 1);
    let feeding = u64::from(count) - recovering;
    let (first, span) = (lines / MARGIN, lines - lines / MARGIN * 2);
    let mut kills: Vec<Kill> = (0..feeding)
        .map(|index| {
            // One in each part of equal length, so that every life of the child gets something
            // done.
            let (from, to) = (span * index / feeding, span * (index + 1) / feeding);
            Kill::Feeding(Strike {
                acknowledged: first + from + random.below(to - from),
                delay: Duration::from_micros(random.below(MAX_DELAY_US)),
                answers: if index.is_multiple_of(2) {
                    Answers::Lost
                } else {
                    Answers::Arrive
                },
            })
        })
        .collect();
    if recovering == 1 {
        let behind = usize::try_from(1 + random.below(feeding)).unwrap_or(1);
        kills.insert(
            behind,
            Kill::Recovering {
                per_mille: EARLIEST_PER_MILLE + random.below(LATEST_PER_MILLE - EARLIEST_PER_MILLE),
            },
        );
    }
    kills
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(kills: &[Kill]) -> Vec<u64> {
        let of = |kill: &Kill| match kill {
            Kill::Feeding(strike) => Some(strike.acknowledged),
            Kill::Recovering { .. } => None,
        };
        kills.iter().filter_map(of).collect()
    }

    #[test]
    fn kills_are_spread_over_the_run_and_one_strikes_in_a_recovery() {
        for seed in 0..200 {
            let kills = kills(5, 100_000, &mut Random::new(seed));
            let points = points(&kills);
            assert_eq!((kills.len(), points.len()), (5, 4), "{kills:?}");
            assert!(
                points.is_sorted() && points[0] >= 5_000 && points[3] <= 95_000,
                "{points:?}"
            );
            assert!(
                !matches!(kills[0], Kill::Recovering { .. }),
                "there is something to recover"
            );
        }
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let with = |seed| kills(5, 100_000, &mut Random::new(seed));
        assert_eq!(with(1), with(1));
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn tiny_runs_have_their_kills_too() {
        for lines in 0..30 {
            let kills = kills(3, lines, &mut Random::new(lines));
            assert_eq!(kills.len(), 3);
            assert!(points(&kills).iter().all(|p| *p <= lines), "{kills:?}");
        }
    }
}
