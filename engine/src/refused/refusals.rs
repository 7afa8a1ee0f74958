//! What a run of a batch does with records that fail.

use crate::refused::noted::Budget;
use crate::refused::place::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The inputs that each operator, by its index, leaves out.
pub(crate) type LeftOut = BTreeMap<usize, BTreeSet<Place>>;

/// What a run of a batch does with records that fail.
#[derive(Debug, Clone)]
pub(crate) enum Refusals {
    /// The batch is not committed: a record that fails is refused, as its stream says.
    Note(Arc<Budget>),
    /// The batch was committed before: what was refused then is left out, without a call of the
    /// closure, and nothing else. So a closure that gives another result today cannot make the
    /// state differ from what was published.
    Honour(Arc<LeftOut>),
}

impl Default for Refusals {
    fn default() -> Self {
        Self::Note(Arc::default())
    }
}
