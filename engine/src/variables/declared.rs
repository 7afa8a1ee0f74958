//! The variables of a program, and how a batch changes them.

use crate::batch::chunk::{Chunk, in_order};
use crate::codec::message_pack;
use crate::error::Error;
use crate::record::Value;
use crate::state::encoded::{Entry, take_value, value_entry};
use crate::state::table::block::RestoredState;
use crate::variables::scope::{Added, Visible};
use crate::variables::values::{BroadcastValue, Newest, Values};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Kind of the state of a counter in checkpoints.
pub(crate) const COUNTER: &str = "counter";

/// Kind of the state of a broadcast value in checkpoints.
pub(crate) const BROADCAST: &str = "broadcast";

/// The variables of a program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    /// Where the handles find the values of the last finished batch.
    pub(crate) newest: Arc<Newest>,
    pub(crate) counters: Vec<CounterInfo>,
    pub(crate) broadcasts: Vec<BroadcastInfo>,
}

/// A counter as declared.
#[derive(Debug, Clone)]
pub(crate) struct CounterInfo {
    pub(crate) name: Arc<str>,
    /// Its state, by index.
    pub(crate) state: usize,
}

/// A broadcast value as declared.
#[derive(Clone)]
pub(crate) struct BroadcastInfo {
    pub(crate) name: Arc<str>,
    /// Its state, by index.
    pub(crate) state: usize,
    /// The tap that its stream ends in, by index.
    pub(crate) tap: usize,
    pub(crate) decode: DecodeFn,
}

type Decoded = Arc<dyn Any + Send + Sync>;

/// The name of a variable, and why it cannot be kept.
pub(crate) type Failed = (Arc<str>, String);

type DecodeFn = fn(&[u8]) -> Result<Decoded, String>;

/// Decodes a broadcast value.
pub(crate) fn decode<T: Value + Sync>(bytes: &[u8]) -> Result<Decoded, String> {
    message_pack::decode::<T>(bytes).map(|value| Arc::new(value) as Decoded)
}

impl BroadcastInfo {
    fn value(&self, encoded: Vec<u8>) -> Result<BroadcastValue, Failed> {
        let decoded = (self.decode)(&encoded);
        Ok(BroadcastValue {
            decoded: decoded.map_err(|e| (Arc::clone(&self.name), e))?,
            encoded: encoded.into(),
        })
    }
}

impl fmt::Debug for BroadcastInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastInfo")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Variables {
    /// Takes the values out of what a checkpoint had. A variable that it did not have begins with
    /// nothing.
    pub(crate) fn restore(
        &self,
        state: &mut BTreeMap<usize, RestoredState>,
    ) -> Result<Values, Failed> {
        let mut values = Values::default();
        for counter in &self.counters {
            let encoded = take_value(state.remove(&counter.state));
            let value = encoded.map(|bytes| message_pack::decode(&bytes));
            let value = value.transpose();
            let value = value.map_err(|e| (Arc::clone(&counter.name), e))?;
            values.counters.push(value.unwrap_or(0));
        }
        for broadcast in &self.broadcasts {
            let encoded = take_value(state.remove(&broadcast.state));
            let value = encoded.map(|bytes| broadcast.value(bytes));
            values.broadcasts.push(value.transpose()?);
        }
        Ok(values)
    }

    /// What the operators of the batch after `values` see.
    pub(crate) fn visible(&self, values: &Arc<Values>) -> Visible {
        Visible {
            program: Arc::clone(&self.newest),
            values: Arc::clone(values),
        }
    }

    /// The values after a batch: what it has added to the counters, and what came out of its taps.
    pub(crate) fn after(
        &self,
        before: &Values,
        added: &Added,
        tapped: &mut BTreeMap<usize, Vec<Chunk>>,
    ) -> Result<Values, Failed> {
        let mut values = before.clone();
        for (total, n) in values.counters.iter_mut().zip(added) {
            *total = total.saturating_add(*n);
        }
        for (value, info) in values.broadcasts.iter_mut().zip(&self.broadcasts) {
            let chunks = tapped.remove(&info.tap).unwrap_or_default();
            if let Some(newest) = in_order::<Vec<u8>>(chunks).flatten().last() {
                *value = Some(info.value(newest)?);
            }
        }
        Ok(values)
    }

    /// The states of the variables, for a checkpoint.
    pub(crate) fn entries(&self, values: &Values) -> Result<Vec<(usize, Vec<Entry>)>, Failed> {
        let mut all = Vec::new();
        for (info, value) in self.counters.iter().zip(&values.counters) {
            let entry = message_pack::encode(value).map_err(|e| e.to_string());
            let entry = entry.and_then(|encoded| value_entry(&encoded));
            let entry = entry.map_err(|e| (Arc::clone(&info.name), e))?;
            all.push((info.state, vec![entry]));
        }
        for (info, value) in self.broadcasts.iter().zip(&values.broadcasts) {
            let entry = value.as_ref().map(|value| value_entry(&value.encoded));
            let entry = entry.transpose().map_err(|e| (Arc::clone(&info.name), e))?;
            all.push((info.state, entry.into_iter().collect()));
        }
        Ok(all)
    }

    /// Every counter with its value as of the last finished batch.
    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        let values = self.newest.get();
        let values = values.counters.iter().copied();
        let names = self.counters.iter().map(|info| info.name.to_string());
        // Before anything is loaded there are no values.
        names.zip(values.chain(std::iter::repeat(0))).collect()
    }
}

/// A variable that cannot be kept.
pub(crate) fn variable_failed((name, message): Failed) -> Error {
    Error::State {
        name: name.to_string(),
        operator: "a counter or broadcast value".to_owned(),
        message,
    }
}

/// Adds what one operator has added to what others have.
pub(crate) fn add_all(total: &mut Added, added: &Added) {
    if total.len() < added.len() {
        total.resize(added.len(), 0);
    }
    for (total, n) in total.iter_mut().zip(added) {
        *total = total.saturating_add(*n);
    }
}
