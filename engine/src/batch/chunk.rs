//! What moves between the operators of a dataflow: a few records with their place in the batch.
//!
//! The places make a batch deterministic. An operator that gathers parcels from several workers
//! sorts them first, so the result does not depend on which thread was faster nor on how many there
//! are.

use highwater_wal::{Chunk, Lsn};
use std::any::Any;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Debug;

/// Records on their way from one operator to the next.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    /// Place in the batch.
    pub(crate) order: Order,
    /// Worker to which an exchange brings it.
    pub(crate) target: usize,
    /// A `Vec<T>`, a [`Placed<T>`], or a piece of the log.
    pub(crate) data: Box<dyn ParcelData>,
}

/// The place of a parcel in its batch: pieces of the log first, then what operators made of the
/// whole batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// The records of a piece of the log, or what was made of them one by one: the number of the
    /// piece.
    Piece(u64),
    /// What an operator made of the whole batch: for each union on the way, the last one first, the
    /// rank of the input through which it came; then the operator's own number (a key group).
    Whole(Vec<u64>),
}

impl Order {
    /// The own number of an operator that acts on whole batches.
    pub(crate) fn whole(number: u64) -> Self {
        Self::Whole(vec![number])
    }

    /// The place after a union, for what came through its input `rank`. Pieces keep their place:
    /// their records are merged.
    pub(crate) fn through(self, rank: u64) -> Self {
        match self {
            Self::Piece(number) => Self::Piece(number),
            Self::Whole(mut path) => {
                path.insert(0, rank);
                Self::Whole(path)
            }
        }
    }
}

impl Parcel {
    pub(crate) fn new<T: ParcelData>(order: Order, target: usize, data: T) -> Self {
        Self {
            order,
            target,
            data: Box::new(data),
        }
    }
}

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

/// The contents of a parcel, with the type erased.
pub(crate) trait ParcelData: Any + Send {
    /// A second copy, for a stream with more than one reader.
    fn duplicate(&self) -> Box<dyn ParcelData>;
    /// For downcasting to the type that the reader expects.
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Clone + Send + 'static> ParcelData for Vec<T> {
    fn duplicate(&self) -> Box<dyn ParcelData> {
        Box::new(self.clone())
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
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

impl ParcelData for Chunk {
    fn duplicate(&self) -> Box<dyn ParcelData> {
        Box::new(self.clone())
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Clone for Box<dyn ParcelData> {
    fn clone(&self) -> Self {
        (**self).duplicate()
    }
}

impl Debug for dyn ParcelData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ParcelData")
    }
}

/// The records of a parcel; the type was fixed when the graph was built.
pub(crate) fn open<T: 'static>(data: Box<dyn ParcelData>) -> T {
    *data
        .into_any()
        .downcast::<T>()
        .expect("the graph connects operators of equal record types")
}

/// Sorts parcels into the order of the batch and takes out their records.
pub(crate) fn in_order<T: 'static>(mut parcels: Vec<Parcel>) -> impl Iterator<Item = Vec<T>> {
    // Stable: parcels of one order come from one operator in order.
    parcels.sort_by(|a, b| a.order.cmp(&b.order));
    parcels.into_iter().map(|p| open::<Vec<T>>(p.data))
}

/// Timely wants to know how a parcel crosses to another process. It does not: within a process
/// channels are typed and parcels move as they are; several processes will exchange a container of
/// their own.
impl serde::Serialize for Parcel {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(
            "a parcel does not leave its process",
        ))
    }
}

impl<'de> serde::Deserialize<'de> for Parcel {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom(
            "a parcel does not leave its process",
        ))
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

    #[test]
    fn what_is_made_of_the_whole_batch_comes_after_its_pieces_input_by_input() {
        let mut orders = vec![
            Order::whole(3).through(1),
            Order::whole(7).through(0).through(0),
            Order::whole(1).through(1).through(0),
            Order::Piece(9).through(4),
            Order::whole(9).through(0).through(0),
        ];
        orders.sort();
        assert_eq!(
            orders,
            [
                Order::Piece(9),
                Order::Whole(vec![0, 0, 7]),
                Order::Whole(vec![0, 0, 9]),
                Order::Whole(vec![0, 1, 1]),
                Order::Whole(vec![1, 3]),
            ]
        );
    }
}
