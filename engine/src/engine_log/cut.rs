//! A cut: the end of a batch's input, and the empty ticks before it.

use crate::batch::Batch;
use crate::batch::source_range::SourceRange;
use crate::batch::tick::{Tick, Timed};
use highwater_wal::Lsn;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A cut as the log holds it: version 2. Fields that have nothing to say are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CutRecord {
    /// Number of the batch that ends here. The empty ticks before it have the numbers below.
    pub(crate) batch: u64,
    /// The batch's tick, in milliseconds since the Unix epoch: a multiple of the interval.
    pub(crate) tick_ms: u64,
    /// The batch interval.
    pub(crate) interval_ms: u64,
    /// Where windows are aligned.
    pub(crate) zero_ms: u64,
    /// What the wall clock showed. It decides nothing.
    pub(crate) wall_ms: u64,
    /// Number of the batch within its tick, from 0 ...
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) part: u32,
    /// ... and whether others of the same tick follow.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) more_parts: bool,
    /// First of a run that has gone on from earlier ones.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) restarted: bool,
    /// Where the batch begins: the end of the one before.
    pub(crate) from: Lsn,
    /// Where it ends, if that is before the cut itself: when more has gathered than one batch may
    /// have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<Lsn>,
    /// Ticks without data before this one that are batches of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) empty: Vec<EmptyTicks>,
    /// What the batch has of sources that keep their own data, in the order in which it is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sources: Vec<SourceRange>,
}

/// Ticks without data, each a batch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EmptyTicks {
    /// The first of them.
    pub(crate) first_ms: u64,
    /// From one to the next.
    pub(crate) step_ms: u64,
    pub(crate) count: u64,
    /// What the first one is of its tick. Not 0 where a run has ended within a tick: then the next
    /// run closes it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) part: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The most offsets that a batch may have: the place of each is a number of 32 bits.
pub(crate) const MAX_OFFSETS: u64 = u32::MAX as u64;

/// Why these cannot be the ranges of one batch, if they cannot: they go backwards, do not touch, or
/// have too many offsets.
pub(crate) fn check(ranges: &[SourceRange]) -> Result<(), String> {
    let mut ends = BTreeMap::new();
    let mut offsets = 0_u64;
    for range in ranges {
        let SourceRange { item, from, to, .. } = range;
        let len = range
            .len()
            .ok_or_else(|| format!("{item} from offset {from} to {to} goes backwards"))?;
        offsets = offsets.saturating_add(len);
        if let Some(end) = ends.insert((range.stream, item), *to)
            && end != *from
        {
            return Err(format!(
                "{item} goes on at offset {from}, and ended at {end} before"
            ));
        }
    }
    match offsets <= MAX_OFFSETS {
        true => Ok(()),
        false => Err(format!(
            "{offsets} offsets in one batch, and {MAX_OFFSETS} are possible"
        )),
    }
}

/// A cut and where it is: one batch, after any number of empty ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) last: Timed,
    empty: Vec<EmptyTicks>,
    /// What the last batch has of sources that keep their own data.
    pub(crate) sources: Arc<[SourceRange]>,
}

impl Cut {
    /// The cut that `record` at `lsn` is; an error if its numbers contradict each other.
    pub(crate) fn new(record: CutRecord, lsn: Lsn) -> Result<Self, String> {
        let batch = Batch {
            id: record.batch,
            time_ms: record.tick_ms,
            from: record.from,
            to: record.to.unwrap_or(lsn),
        };
        let counts = record.empty.iter().map(|ticks| ticks.count);
        let empty = counts.fold(0, u64::saturating_add);
        if record.batch <= empty || batch.to < batch.from || batch.to > lsn {
            return Err(format!(
                "the cut of {batch} with {empty} empty ticks contradicts itself"
            ));
        }
        check(&record.sources).map_err(|what| format!("the cut of {batch}: {what}"))?;
        let tick = Tick {
            time_ms: record.tick_ms,
            interval_ms: record.interval_ms,
            zero_ms: record.zero_ms,
            part: record.part,
            is_last_part: !record.more_parts,
        };
        Ok(Self {
            last: Timed { batch, tick },
            empty: record.empty,
            sources: record.sources.into(),
        })
    }

    fn empty_count(&self) -> u64 {
        self.empty.iter().map(|ticks| ticks.count).sum()
    }

    /// How many batches it has.
    pub(crate) fn count(&self) -> u64 {
        self.empty_count() + 1
    }

    /// Number of its first batch.
    pub(crate) fn first_id(&self) -> u64 {
        self.last.batch.id - self.empty_count()
    }

    /// Its batch with number `id`.
    pub(crate) fn batch(&self, id: u64) -> Option<Timed> {
        self.batches().find(|timed| timed.batch.id == id)
    }

    /// Leaves out its batches up to number `id`; false if none is left.
    pub(crate) fn drop_through(&mut self, id: u64) -> bool {
        let mut next = self.first_id();
        for ticks in &mut self.empty {
            let dropped = ticks.count.min((id + 1).saturating_sub(next));
            next += ticks.count;
            if dropped > 0 {
                let gone = dropped.saturating_mul(ticks.step_ms);
                ticks.first_ms = ticks.first_ms.saturating_add(gone);
                ticks.count -= dropped;
                ticks.part = 0;
            }
        }
        self.empty.retain(|ticks| ticks.count > 0);
        self.last.batch.id > id
    }

    /// Its batches, in order. They are made as they are asked for: there may be many.
    pub(crate) fn batches(&self) -> impl Iterator<Item = Timed> + use<> {
        let (last, mut id) = (self.last, self.first_id());
        let empty = self.empty.clone().into_iter().flat_map(|ticks| {
            (0..ticks.count).map(move |n| {
                let time_ms = ticks
                    .first_ms
                    .saturating_add(n.saturating_mul(ticks.step_ms));
                (time_ms, if n == 0 { ticks.part } else { 0 })
            })
        });
        let empty = empty.map(move |(time_ms, part)| {
            let timed = Timed {
                batch: Batch {
                    id,
                    time_ms,
                    from: last.batch.from,
                    to: last.batch.from,
                },
                tick: Tick {
                    time_ms,
                    part,
                    is_last_part: true,
                    ..last.tick
                },
            };
            id += 1;
            timed
        });
        empty.chain([last])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> CutRecord {
        CutRecord {
            batch: 10,
            tick_ms: 9_000,
            interval_ms: 1_000,
            zero_ms: 2_000,
            wall_ms: 8_999,
            part: 0,
            more_parts: false,
            restarted: true,
            from: Lsn::new(80),
            to: None,
            empty: vec![
                EmptyTicks {
                    first_ms: 4_000,
                    step_ms: 1_000,
                    count: 1,
                    part: 3,
                },
                EmptyTicks {
                    first_ms: 7_000,
                    step_ms: 1_000,
                    count: 2,
                    part: 0,
                },
            ],
            sources: Vec::new(),
        }
    }

    #[test]
    fn empty_ticks_are_batches_with_numbers_and_times_of_their_own() {
        let cut = Cut::new(record(), Lsn::new(160)).unwrap();
        assert_eq!((cut.first_id(), cut.count()), (7, 4));
        let batches: Vec<_> = cut.batches().collect();
        let found = batches.iter().map(|timed| {
            let Timed { batch, tick } = timed;
            assert_eq!(batch.time_ms, tick.time_ms);
            let (from, to) = (batch.from.get(), batch.to.get());
            (batch.id, tick.time_ms, tick.part, from, to)
        });
        let expected = [
            (7, 4_000, 3, 80, 80),
            (8, 7_000, 0, 80, 80),
            (9, 8_000, 0, 80, 80),
            (10, 9_000, 0, 80, 160),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        for id in 6..12 {
            let mut left = cut.clone();
            assert_eq!(left.drop_through(id), id < 10);
            let later: Vec<_> = batches.iter().filter(|t| t.batch.id > id.min(9)).collect();
            assert_eq!(
                left.batches().collect::<Vec<_>>(),
                later.into_iter().copied().collect::<Vec<_>>()
            );
            assert_eq!(
                cut.batch(id),
                batches.iter().find(|t| t.batch.id == id).copied()
            );
        }
    }

    #[test]
    fn cuts_that_contradict_themselves_are_refused() {
        let refused = |change: fn(&mut CutRecord)| {
            let mut record = record();
            change(&mut record);
            Cut::new(record, Lsn::new(160)).unwrap_err()
        };
        for change in [
            (|cut| cut.batch = 3) as fn(&mut CutRecord),
            |cut| cut.from = Lsn::new(168),
            |cut| cut.to = Some(Lsn::new(72)),
            |cut| cut.to = Some(Lsn::new(168)),
            |cut| cut.empty[0].count = u64::MAX,
        ] {
            assert!(refused(change).contains("contradicts itself"));
        }
        let range = |from, to| SourceRange {
            stream: 1,
            item: "partition 0".to_owned(),
            from,
            to,
            identity: vec![1],
            records: None,
        };
        let of = |ranges: &[(u64, u64)]| {
            let ranges = ranges.iter().map(|(from, to)| range(*from, *to));
            check(&ranges.collect::<Vec<_>>())
        };
        assert_eq!(of(&[(3, 7), (7, 7), (7, 9)]), Ok(()));
        for (wrong, why) in [
            (&[(3, 2)][..], "goes backwards"),
            (&[(3, 7), (8, 9)], "ended at 7"),
            (&[(3, 7), (6, 9)], "ended at 7"),
            (&[(0, MAX_OFFSETS + 1)], "are possible"),
        ] {
            let found = of(wrong).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
        let mut record = record();
        record.sources = vec![range(3, 2)];
        let found = Cut::new(record, Lsn::new(160)).unwrap_err();
        assert!(
            found.contains("batch 10") && found.contains("backwards"),
            "{found}"
        );
    }
}
