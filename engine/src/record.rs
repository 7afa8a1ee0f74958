//! What may flow through a stream, be a key, or be kept as state. All four traits are implemented
//! for every type that meets the bounds. They exist so that a compile error names records and keys,
//! not five missing bounds.

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

/// A value that is written into the log, or shuffled between workers by its key.
///
/// A record of an input is read back before it is accepted. [`Sender::send`](crate::Sender::send)
/// refuses what serde would not give back as it was. Examples: an `Option` in an `Option`,
/// `Some(())`, a skipped field without a default, a 128-bit number in an internally tagged enum.
/// What serde does not see cannot be checked: a field with `#[serde(skip)]` comes back as its
/// default.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written into the log or sent between workers",
    label = "inputs and values of keyed operators need `Clone + Send + Serialize + DeserializeOwned`",
    note = "add `#[derive(Clone, serde::Serialize, serde::Deserialize)]` to the type"
)]
pub trait Value: Record + Serialize + DeserializeOwned {}

impl<T: Record + Serialize + DeserializeOwned> Value for T {}

/// A key: what records are grouped by.
///
/// - **Keys that are equal must serialise to the same**, and keys that differ to something else.
///   The key group follows from what a key serialises to. Two equal keys of different bytes (such
///   as names compared without case) would be two keys in two groups. Make such keys alike before
///   they are keys: `.map(|(name, n)| (name.to_lowercase(), n))`.
/// - State keeps a copy of a key as a checkpoint would give it back. A key that would come back as
///   another one fails the batch that brings it, with operator and key. An example is a
///   `#[serde(skip)]` field that `Eq` compares.
/// - A key's type may change as far as old keys still decode. Fields may change places, be added
///   with `#[serde(default)]`, or be removed. Variants may be renamed with `#[serde(alias)]`,
///   integers widened. Keys then move to the key groups to which they belong
///   ([`StateReport::moved_keys`](crate::StateReport::moved_keys)); two keys that become one are
///   refused.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "keys need `Hash + Eq + Clone + Send + Sync + Serialize + DeserializeOwned`",
    note = "add `#[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]` to the type; floating-point numbers cannot be keys"
)]
pub trait Key: Value + Hash + Eq + Sync {}

impl<T: Value + Hash + Eq + Sync> Key for T {}

/// State that is kept between batches and written into checkpoints.
///
/// A state that serde would not give back as it was is refused. Some faults can be seen at once: it
/// does not serialise, an `Option` in an `Option`, `Some(())`. They fail the batch that brings the
/// state, with operator and key. Others show only when the state is read, such as a skipped field
/// without a default. They fail the checkpoint, which reads everything back before it is published.
/// The log is kept until the type is corrected.
///
/// **What serde does not see cannot be checked**: a field with `#[serde(skip)]` is its default
/// after a restart, whatever it was before the stop.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept as state",
    label = "state is written into checkpoints and can be asked for: `Clone + Send + Sync + Serialize + DeserializeOwned`",
    note = "add `#[derive(Clone, serde::Serialize, serde::Deserialize)]`; give fields that you add later `#[serde(default)]` so that old checkpoints still load"
)]
pub trait State: Value + Sync {}

impl<T: Value + Sync> State for T {}
