//! What may flow through a stream, be a key, or be kept as state. All four traits are implemented for every type that
//! meets the bounds: they exist so that a compile error speaks of records and keys, not of five missing bounds.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::hash::Hash;

/// A record of a stream.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a record of a stream",
    label = "records move between worker threads and may have several readers: `Clone + Send + 'static`",
    note = "own the data (`String` instead of `&str`, `Arc` instead of `Rc`) and derive `Clone`"
)]
pub trait Record: Clone + Send + 'static {}
impl<T: Clone + Send + 'static> Record for T {}

/// A value that is shuffled between workers by its key.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written into the log or sent between workers",
    label = "inputs and values of keyed operators need `Clone + Send + Serialize + DeserializeOwned`",
    note = "add `#[derive(Clone, serde::Serialize, serde::Deserialize)]` to the type"
)]
pub trait Value: Record + Serialize + DeserializeOwned {}
impl<T: Record + Serialize + DeserializeOwned> Value for T {}

/// A key: what records are grouped by.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "keys need `Hash + Eq + Clone + Send + Serialize + DeserializeOwned`",
    note = "add `#[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]` to the type; floating-point numbers cannot be keys"
)]
pub trait Key: Value + Hash + Eq {}
impl<T: Value + Hash + Eq> Key for T {}

/// State that is kept between batches and written into checkpoints.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept as state",
    label = "state is written into checkpoints: `Clone + Send + Serialize + DeserializeOwned`",
    note = "add `#[derive(Clone, serde::Serialize, serde::Deserialize)]`; give fields that you add later `#[serde(default)]` so that old checkpoints still load"
)]
pub trait State: Value {}
impl<T: Value> State for T {}
