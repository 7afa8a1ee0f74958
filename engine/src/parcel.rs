//! What moves between the operators of a dataflow: a few records with their place in the batch.
//!
//! The order key makes a batch deterministic: whoever gathers parcels from several workers sorts by it first, so the
//! result does not depend on which thread was faster nor on how many there are.

use highwater_wal::Chunk;
use std::any::Any;
use std::fmt::Debug;

/// Records on their way from one operator to the next.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    /// Place in the batch: chunk number at a source, key group behind a keyed operator.
    pub(crate) order: u64,
    /// Worker to which an exchange brings it.
    pub(crate) target: usize,
    /// A `Vec<T>` or a piece of the log.
    pub(crate) data: Box<dyn ParcelData>,
}

impl Parcel {
    pub(crate) fn new<T: ParcelData>(order: u64, target: usize, data: T) -> Self {
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
pub(crate) fn in_order<T: 'static>(
    mut parcels: Vec<Parcel>,
) -> impl Iterator<Item = (u64, Vec<T>)> {
    parcels.sort_by_key(|p| p.order); // stable: parcels of one order come from one operator in order
    parcels
        .into_iter()
        .map(|p| (p.order, open::<Vec<T>>(p.data)))
}

/// Timely wants to know how a parcel crosses to another process. It does not: within a process channels are typed and
/// parcels move as they are; several processes will exchange a container of their own.
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
