//! How many records each operator has refused.

use crate::codec::message_pack;
use crate::error::Error;
use crate::refused::lists::{Refused, RefusedCount};
use crate::state::encoded::{Entry, take_value, value_entry};
use crate::state::table::block::RestoredState;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Kind of the state of these counts in checkpoints.
pub(crate) const REFUSED: &str = "refused";

/// Name of that state.
pub(crate) const REFUSED_RECORDS: &str = "refused records";

/// Counts by the name of the operator.
pub(crate) type Counts = BTreeMap<String, RefusedCount>;

/// Counts that cannot be kept.
pub(crate) fn refused_failed(message: String) -> Error {
    Error::State {
        name: REFUSED_RECORDS.to_owned(),
        operator: "the count of refused records".to_owned(),
        message,
    }
}

/// How many records each operator has refused, as of the last finished batch. They are in
/// checkpoints, and are the same whatever is run again.
#[derive(Debug, Clone, Default)]
pub(crate) struct RefusedCounts {
    /// By index. `None` in a program that refuses nothing.
    pub(crate) state: Option<usize>,
    now: Arc<Mutex<Counts>>,
}

impl RefusedCounts {
    /// Takes the counts out of what a checkpoint had.
    pub(crate) fn restore(
        &self,
        states: &mut BTreeMap<usize, RestoredState>,
    ) -> Result<(), String> {
        let restored = self.state.and_then(|state| states.remove(&state));
        if let Some(encoded) = take_value(restored) {
            *self.now.lock() = message_pack::decode(&encoded)?;
        }
        Ok(())
    }

    /// A batch is finished that has refused this.
    pub(crate) fn add(&self, refused: &Refused) {
        let mut now = self.now.lock();
        for (operator, count) in refused.counts() {
            let total = now.entry(operator).or_default();
            total.skipped = total.skipped.saturating_add(count.skipped);
            total.dead_letters = total.dead_letters.saturating_add(count.dead_letters);
        }
    }

    pub(crate) fn get(&self) -> Counts {
        self.now.lock().clone()
    }

    /// Their state, for a checkpoint.
    pub(crate) fn entries(&self) -> Result<Option<(usize, Vec<Entry>)>, String> {
        let Some(state) = self.state else {
            return Ok(None);
        };
        let encoded = message_pack::encode(&*self.now.lock()).map_err(|e| e.to_string())?;
        Ok(Some((state, vec![value_entry(&encoded)?])))
    }
}
