//! Records with their positions in the log.

use crate::batch::chunk::ChunkData;
use highwater_wal::Lsn;
use std::any::Any;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Debug;

/// The position of a record of the log, and of everything that is made of it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Its frame.
    pub(crate) lsn: Lsn,
    /// Its number in the frame.
    pub(crate) index: u32,
}

/// Records with their positions; without one, if they were made of a whole batch. What is made of a
/// chunk of the log is in order of its positions.
#[derive(Debug, Clone)]
pub(crate) struct Positioned<T> {
    records: Vec<T>,
    /// A position, and where the records that have it end.
    runs: Vec<(Option<Position>, usize)>,
}

impl<T> Default for Positioned<T> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            runs: Vec::new(),
        }
    }
}

impl<T> Positioned<T> {
    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, position: Option<Position>, record: T) {
        self.records.push(record);
        let end = self.records.len();
        match self.runs.last_mut() {
            Some((last, last_end)) if *last == position => *last_end = end,
            _ => self.runs.push((position, end)),
        }
    }

    /// Every record with its position.
    pub(crate) fn for_each(self, mut f: impl FnMut(Option<Position>, T)) {
        let mut runs = self.runs.into_iter();
        let mut run = runs.next();
        for (at, record) in self.records.into_iter().enumerate() {
            while run.is_some_and(|(_, end)| end <= at) {
                run = runs.next();
            }
            f(run.and_then(|(position, _)| position), record);
        }
    }

    /// The records of all inputs by position; those of one position by the number of their input.
    pub(crate) fn merge(inputs: Vec<Self>) -> Self {
        let mut heads: Vec<_> = inputs
            .iter()
            .map(|input| input.runs.iter().peekable())
            .collect();
        let mut next: BinaryHeap<Reverse<(Option<Position>, usize)>> = heads
            .iter_mut()
            .enumerate()
            .filter_map(|(rank, runs)| runs.peek().map(|(position, _)| Reverse((*position, rank))))
            .collect();
        let mut order = Vec::new();
        while let Some(Reverse((position, rank))) = next.pop() {
            let runs = heads.get_mut(rank).expect("a rank is that of an input");
            let (_, end) = runs.next().expect("what was seen is there");
            order.push((position, rank, *end));
            if let Some((position, _)) = runs.peek() {
                next.push(Reverse((*position, rank)));
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
        for (position, rank, end) in order {
            let (records, taken) = sources.get_mut(rank).expect("a rank is that of an input");
            let run = records.take(end - *taken);
            run.for_each(|record| merged.push(position, record));
            *taken = end;
        }
        merged
    }
}

impl<T: Clone + Send + 'static> ChunkData for Positioned<T> {
    fn duplicate(&self) -> Box<dyn ChunkData> {
        Box::new(self.clone())
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positioned(records: &[(u64, u32, char)]) -> Positioned<char> {
        let mut positioned = Positioned::default();
        for (lsn, index, record) in records {
            let position = Position {
                lsn: Lsn::new(*lsn),
                index: *index,
            };
            positioned.push(Some(position), *record);
        }
        positioned
    }

    fn text(positioned: Positioned<char>) -> String {
        let mut text = String::new();
        positioned.for_each(|_, record| text.push(record));
        text
    }

    #[test]
    fn records_are_merged_by_their_place_and_then_by_input() {
        let a = positioned(&[(8, 1, 'a'), (8, 2, 'c'), (8, 2, 'd'), (64, 1, 'h')]);
        let b = positioned(&[(8, 2, 'e'), (16, 1, 'f')]);
        let c = positioned(&[(8, 1, 'b'), (16, 1, 'g'), (72, 1, 'i')]);
        assert_eq!(
            text(Positioned::merge(vec![a, b, Positioned::default(), c])),
            "abcdefghi"
        );
    }

    #[test]
    fn places_survive_a_merge() {
        let merged = Positioned::merge(vec![
            positioned(&[(8, 1, 'a'), (16, 1, 'b')]),
            positioned(&[(8, 1, 'x'), (8, 2, 'y')]),
        ]);
        let mut seen = Vec::new();
        merged.for_each(|position, record| {
            seen.push((position.unwrap().lsn.get(), position.unwrap().index, record))
        });
        assert_eq!(seen, [(8, 1, 'a'), (8, 1, 'x'), (8, 2, 'y'), (16, 1, 'b')]);
    }
}
