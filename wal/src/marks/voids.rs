//! Ranges of the log whose records were taken back.

use crate::lsn::Lsn;
use std::collections::BTreeMap;

/// Ranges of positions, ascending, that neither overlap nor touch. A record is void if its frame
/// starts in one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Voids {
    /// From start to end.
    ranges: BTreeMap<u64, u64>,
}

impl Voids {
    /// Adds a range.
    pub(crate) fn add(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let (mut from, mut to) = (from, to);
        // The last one that starts before it, and all that start in it or right after it.
        while let Some((&start, &end)) = self.ranges.range(..=to).next_back() {
            if end < from {
                break;
            }
            from = from.min(start);
            to = to.max(end);
            self.ranges.remove(&start);
        }
        self.ranges.insert(from, to);
    }

    /// Whether a frame that starts at `lsn` is void.
    #[inline]
    pub(crate) fn contains(&self, lsn: u64) -> bool {
        let before = self.ranges.range(..=lsn).next_back();
        before.is_some_and(|(_, &end)| lsn < end)
    }

    /// How many ranges there would be with this one.
    pub(crate) fn len_with(&self, from: u64, to: u64) -> usize {
        let mut with = self.clone();
        with.add(from, to);
        with.ranges.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Forgets what lies wholly below `first`.
    pub(crate) fn forget_below(&mut self, first: u64) {
        self.ranges.retain(|_, end| *end > first);
    }

    /// The ranges, as start and end.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Lsn, Lsn)> {
        let lsns = |(from, to): (&u64, &u64)| (Lsn::new(*from), Lsn::new(*to));
        self.ranges.iter().map(lsns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a list of every position.
        #[test]
        fn ranges_are_as_a_list_of_positions(
            added in proptest::collection::vec((0_u64..64, 0_u64..64), 0..12),
            first in 0_u64..64,
        ) {
            let mut voids = Voids::default();
            let mut model = [false; 64];
            for (from, to) in added {
                prop_assert_eq!(voids.len_with(from, to), {
                    let mut with = voids.clone();
                    with.add(from, to);
                    with.ranges.len()
                });
                voids.add(from, to);
                (from..to).for_each(|at| model[usize::try_from(at).unwrap()] = true);
            }
            for (at, is_void) in (0_u64..).zip(model) {
                prop_assert_eq!(voids.contains(at), is_void, "{}", at);
            }
            let ranges: Vec<_> = voids.iter().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", ranges);
            voids.forget_below(first);
            for at in first..64 {
                prop_assert_eq!(voids.contains(at), model[usize::try_from(at).unwrap()]);
            }
        }
    }
}
