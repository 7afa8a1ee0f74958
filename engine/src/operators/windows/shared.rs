//! Records that are never changed, and that copies of a state share.

use crate::codec::round_trip;
use crate::record::Value;
use parking_lot::Mutex;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::sync::Arc;

/// Records that are never changed. A copy shares them.
///
/// Records are `Send` and need not be `Sync`, so they are behind a lock. There is never anyone to
/// wait for: all copies are with the worker that owns the key.
pub(crate) struct Shared<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Value> Shared<T> {
    pub(crate) fn new(records: Vec<T>) -> Self {
        Self(Arc::new(Mutex::new(records)))
    }

    /// Whether they can be written as they are.
    pub(crate) fn check(&self) -> Result<(), String> {
        round_trip::check(&*self.0.lock())
    }

    pub(crate) fn to_vec(&self) -> Vec<T> {
        self.0.lock().clone()
    }

    pub(crate) fn append_to(&self, all: &mut Vec<T>) {
        all.extend_from_slice(&self.0.lock());
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.lock().as_slice().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Arc::new(Mutex::new(Vec::deserialize(deserializer)?))))
    }
}
