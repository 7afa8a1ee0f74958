//! Chunks of a batch: what moves between the operators of a dataflow.
//!
//! Each has a sequence key, which makes a batch deterministic. An operator that gathers chunks from
//! several workers sorts them first. So the result does not depend on which thread was faster, nor
//! on how many there are.

use highwater_wal::Chunk;
use std::any::Any;
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
