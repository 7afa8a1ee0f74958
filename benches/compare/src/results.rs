//! What a run found, as plain data; and what follows from it.

use crate::appends::Durable;
use crate::engines::Role;
use crate::machine::Machine;
use crate::replays::Replay;
use crate::trace::Seen;
use serde::Serialize;

/// Everything, as `--json` writes it. Each list of runs is in the order of the runs.
#[derive(Debug, Serialize)]
pub struct Results {
    pub machine: Machine,
    pub engines: Vec<EngineFacts>,
    pub durable: Vec<DurableCell>,
    pub without_sync: Vec<WithoutSyncCell>,
    pub replay: Vec<ReplayCell>,
}

/// Who took part.
#[derive(Debug, Serialize)]
pub struct EngineFacts {
    pub name: &'static str,
    pub role: Role,
    pub setting: &'static str,
    pub replays: Option<&'static str>,
    /// The calls of one durable append; absent without strace.
    pub calls: Option<Seen>,
}

/// Durable appends of one size on one number of threads.
#[derive(Debug, Serialize)]
pub struct DurableCell {
    pub engine: &'static str,
    pub size: usize,
    pub threads: u64,
    pub runs: Vec<Durable>,
}

/// Appends per second that wait for nothing.
#[derive(Debug, Serialize)]
pub struct WithoutSyncCell {
    pub engine: &'static str,
    pub size: usize,
    pub threads: u64,
    pub runs: Vec<f64>,
}

/// Opening after a crash and replay.
#[derive(Debug, Serialize)]
pub struct ReplayCell {
    pub engine: &'static str,
    pub size: usize,
    pub bytes: u64,
    pub runs: Vec<Replay>,
}

/// Whether a durable figure may be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    Ranked,
    /// More records were acknowledged than the device's flushes can have covered.
    NoFlush,
    /// Flushes are not counted here.
    Unknown,
}

impl Results {
    /// Every thread waits for its own record, so a flush covers at most one record of each; one
    /// more per thread may have been flushed just before the counting began. More records than that
    /// cannot all have been durable when they were acknowledged.
    pub fn rank(&self, cell: &DurableCell) -> Rank {
        let calls = self.calls(cell.engine);
        if calls.is_some_and(|seen| !seen.syncs_each()) {
            return Rank::NoFlush;
        }
        let covered = cell.runs.iter().map(|run| {
            let flushes = run.flushes?;
            Some(run.records <= (flushes + 1) * cell.threads)
        });
        match covered.collect::<Option<Vec<bool>>>() {
            None => Rank::Unknown,
            Some(runs) if runs.iter().all(|covered| *covered) => Rank::Ranked,
            // Direct writes reach the medium by FUA there, which is not counted; then only strace
            // can tell.
            Some(_) if self.machine.fua && calls.is_some() => Rank::Ranked,
            Some(_) => Rank::NoFlush,
        }
    }

    /// The calls of one durable append, if strace was there.
    pub fn calls(&self, engine: &str) -> Option<&Seen> {
        let facts = self.engines.iter().find(|e| e.name == engine)?;
        facts.calls.as_ref()
    }

    pub fn role(&self, engine: &str) -> Option<Role> {
        let facts = self.engines.iter().find(|e| e.name == engine)?;
        Some(facts.role)
    }
}

/// Median, least and most of several runs.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Summary {
    /// `None` without any value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Results of engines that ran 8 threads with 1 KiB once: name, role, appends per second,
    /// records, flushes.
    pub fn of(cells: &[(&'static str, Role, f64, u64, Option<u64>)]) -> Results {
        let facts = |name, role| EngineFacts {
            name,
            role,
            setting: "",
            replays: None,
            calls: None,
        };
        let run = |per_second, records, flushes| Durable {
            per_second,
            records,
            flushes,
            p50_us: 100.0,
            p99_us: 200.0,
            p999_us: 300.0,
            max_us: 400.0,
        };
        Results {
            machine: Machine::imagined(),
            engines: cells.iter().map(|c| facts(c.0, c.1)).collect(),
            durable: cells
                .iter()
                .map(|c| DurableCell {
                    engine: c.0,
                    size: 1024,
                    threads: 8,
                    runs: vec![run(c.2, c.3, c.4)],
                })
                .collect(),
            without_sync: Vec::new(),
            replay: Vec::new(),
        }
    }

    fn rank_of(records: u64, flushes: Option<u64>) -> Rank {
        let results = of(&[("engine", Role::Rival, 1.0, records, flushes)]);
        results.rank(&results.durable[0])
    }

    #[test]
    fn more_records_than_the_flushes_can_have_covered_are_not_ranked() {
        assert_eq!(rank_of(808, Some(100)), Rank::Ranked);
        assert_eq!(rank_of(809, Some(100)), Rank::NoFlush);
        assert_eq!(rank_of(9, Some(0)), Rank::NoFlush);
        assert_eq!(rank_of(8, None), Rank::Unknown);
    }

    #[test]
    fn who_was_not_seen_to_sync_is_not_ranked_however_often_the_disk_flushed() {
        let mut results = of(&[("engine", Role::Rival, 1.0, 8, Some(100))]);
        let calls = BTreeMap::from([("fdatasync".to_owned(), 0.5)]);
        results.engines[0].calls = Some(Seen { calls });
        assert_eq!(results.rank(&results.durable[0]), Rank::NoFlush);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        let summary = Summary::of([4.0, 1.0, 3.0, 2.0]).expect("values");
        assert_eq!((summary.min, summary.median, summary.max), (1.0, 2.5, 4.0));
        assert!(Summary::of([]).is_none());
    }
}
