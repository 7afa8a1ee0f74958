//! Records with their positions in the log.

use crate::batch::chunk::ParcelData;
use highwater_wal::Lsn;
use std::any::Any;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Debug;

/// The place of a record of the log, and of everything that is made of it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Its frame.
    pub(crate) lsn: Lsn,
    /// Its number in the frame.
    pub(crate) index: u32,
}

/// Records with their places, in order of these; without places if they were made of a whole batch.
#[derive(Debug, Clone)]
pub(crate) struct Placed<T> {
    records: Vec<T>,
    /// A place, and where the records that have it end.
    runs: Vec<(Place, usize)>,
}

impl<T> Default for Placed<T> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            runs: Vec::new(),
        }
    }
}

impl<T> Placed<T> {
    /// Adds a record; places ascend.
    pub(crate) fn push(&mut self, place: Option<Place>, record: T) {
        self.records.push(record);
        let end = self.records.len();
        match (place, self.runs.last_mut()) {
            (Some(place), Some((last, last_end))) if *last == place => *last_end = end,
            (Some(place), _) => self.runs.push((place, end)),
            (None, _) => {}
        }
    }

    /// Every record with its place.
    pub(crate) fn for_each(self, mut f: impl FnMut(Option<Place>, T)) {
        let mut runs = self.runs.into_iter();
        let mut run = runs.next();
        for (at, record) in self.records.into_iter().enumerate() {
            while run.is_some_and(|(_, end)| end <= at) {
                run = runs.next();
            }
            f(run.map(|(place, _)| place), record);
        }
    }

    /// The records of all inputs by place; those of one place by the number of their input.
    pub(crate) fn merge(inputs: Vec<Self>) -> Self {
        let mut heads: Vec<_> = inputs
            .iter()
            .map(|input| input.runs.iter().peekable())
            .collect();
        let mut next: BinaryHeap<Reverse<(Place, usize)>> = heads
            .iter_mut()
            .enumerate()
            .filter_map(|(rank, runs)| runs.peek().map(|(place, _)| Reverse((*place, rank))))
            .collect();
        let mut order = Vec::new();
        while let Some(Reverse((place, rank))) = next.pop() {
            let runs = heads.get_mut(rank).expect("a rank is that of an input");
            let (_, end) = runs.next().expect("what was seen is there");
            order.push((place, rank, *end));
            if let Some((place, _)) = runs.peek() {
                next.push(Reverse((*place, rank)));
            }
        }
        let mut merged = Self::default();
        merged
            .records
            .reserve(inputs.iter().map(|i| i.records.len()).sum());
        let mut sources: Vec<_> = inputs
            .into_iter()
            .map(|input| (input.records.into_iter(), 0))
            .collect();
        for (place, rank, end) in order {
            let (records, taken) = sources.get_mut(rank).expect("a rank is that of an input");
            let run = records.take(end - *taken);
            run.for_each(|record| merged.push(Some(place), record));
            *taken = end;
        }
        merged
    }
}

impl<T: Clone + Send + 'static> ParcelData for Placed<T> {
    fn duplicate(&self) -> Box<dyn ParcelData> {
        Box::new(self.clone())
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(records: &[(u64, u32, char)]) -> Placed<char> {
        let mut placed = Placed::default();
        for (lsn, index, record) in records {
            let place = Place {
                lsn: Lsn::new(*lsn),
                index: *index,
            };
            placed.push(Some(place), *record);
        }
        placed
    }

    fn text(placed: Placed<char>) -> String {
        let mut text = String::new();
        placed.for_each(|_, record| text.push(record));
        text
    }

    #[test]
    fn records_are_merged_by_their_place_and_then_by_input() {
        let a = placed(&[(8, 1, 'a'), (8, 2, 'c'), (8, 2, 'd'), (64, 1, 'h')]);
        let b = placed(&[(8, 2, 'e'), (16, 1, 'f')]);
        let c = placed(&[(8, 1, 'b'), (16, 1, 'g'), (72, 1, 'i')]);
        assert_eq!(
            text(Placed::merge(vec![a, b, Placed::default(), c])),
            "abcdefghi"
        );
    }

    #[test]
    fn places_survive_a_merge() {
        let merged = Placed::merge(vec![
            placed(&[(8, 1, 'a'), (16, 1, 'b')]),
            placed(&[(8, 1, 'x'), (8, 2, 'y')]),
        ]);
        let mut seen = Vec::new();
        merged.for_each(|place, record| {
            seen.push((place.unwrap().lsn.get(), place.unwrap().index, record))
        });
        assert_eq!(seen, [(8, 1, 'a'), (8, 1, 'x'), (8, 2, 'y'), (16, 1, 'b')]);
    }
}
