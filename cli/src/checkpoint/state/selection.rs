//! Which entries of a state are meant.

use crate::args::StateArgs;
use crate::checkpoint::entries::{Entry, each_entry};
use crate::decode;
use highwater::checkpoint::{Checkpoint, StateEntry};
use highwater_log::outcome::{Failure, Result};
use rmpv::Value as Pack;
use serde_json::Value;
use std::ops::ControlFlow;

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) entries: u64,
    /// Keys and values that are not MessagePack.
    pub(super) undecodable: u64,
}

/// Entries of one state of one checkpoint.
pub(super) struct Selection<'a> {
    checkpoint: Checkpoint,
    state: &'a StateEntry,
    key: Option<WantedKey>,
    limit: u64,
}

/// The key that was asked for, as JSON and as text.
struct WantedKey {
    json: Option<Value>,
    text: Value,
}

impl WantedKey {
    fn new(key: &str) -> Self {
        Self {
            json: serde_json::from_str(key).ok(),
            text: Value::from(key),
        }
    }

    fn is(&self, key: &Pack) -> bool {
        let key = decode::json(key);
        key == self.text || self.json.as_ref() == Some(&key)
    }
}

impl<'a> Selection<'a> {
    pub(super) fn new(checkpoint: Checkpoint, state: &'a StateEntry, args: &StateArgs) -> Self {
        Self {
            checkpoint,
            state,
            key: args.key.as_deref().map(WantedKey::new),
            limit: args.limit.unwrap_or(u64::MAX),
        }
    }

    /// Calls `each` with every entry that is meant.
    pub(super) fn each(&self, mut each: impl FnMut(&Entry) -> Result<()>) -> Result<Told> {
        let mut told = Told::default();
        if self.limit == 0 {
            return Ok(told);
        }
        each_entry(&self.checkpoint, self.state, |entry| {
            if self
                .key
                .as_ref()
                .is_some_and(|wanted| !wanted.is(&entry.key))
            {
                return Ok(ControlFlow::Continue(()));
            }
            told.entries += 1;
            told.undecodable += entry.undecodable;
            each(entry)?;
            Ok(match told.entries == self.limit {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        Ok(told)
    }

    /// # Errors
    /// If a key was asked for that is not there.
    pub(super) fn check_found(&self, told: &Told) -> Result<()> {
        let Some(key) = self
            .key
            .as_ref()
            .filter(|_| told.entries == 0 && self.limit > 0)
        else {
            return Ok(());
        };
        let (name, number) = (&self.state.name, self.checkpoint.number());
        let key = key.text.as_str().unwrap_or_default();
        Err(Failure::Finding(format!(
            "state \"{name}\" of checkpoint {number} has no key {key}"
        )))
    }
}
