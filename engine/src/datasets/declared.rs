//! The datasets of a program, and how a batch changes them.

use crate::batch::Batch;
use crate::batch::chunk::{Chunk, in_order};
use crate::datasets::slot::{DatasetSlot, Recompute};
use crate::datasets::stored::{EncodedRecords, joined};
use crate::error::{Error, Result};
use crate::state::encoded::{Entry, take_entries};
use crate::state::table::block::RestoredState;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

/// The datasets of a program.
#[derive(Debug, Clone, Default)]
pub(crate) struct DatasetList {
    pub(crate) slots: Vec<Arc<DatasetSlot>>,
}

impl DatasetList {
    /// Takes over what a checkpoint (number, last batch) had.
    pub(crate) fn restore(
        &self,
        state: &mut BTreeMap<usize, RestoredState>,
        checkpoint: Option<(u64, u64)>,
    ) -> Result<()> {
        for slot in &self.slots {
            let entries = take_entries(state.remove(&slot.state));
            let restored = slot.restore(entries, checkpoint);
            restored.map_err(|message| cannot_keep(slot, message))?;
        }
        Ok(())
    }

    pub(crate) fn bind(&self, recompute: &Weak<dyn Recompute>) {
        for slot in &self.slots {
            slot.bind(Weak::clone(recompute));
        }
    }

    /// The taps whose results of `batch` will be kept.
    pub(crate) fn wanted(&self, batch: &Batch) -> BTreeSet<usize> {
        let wanting = self.slots.iter().filter(|slot| slot.wants(batch));
        wanting.map(|slot| slot.tap).collect()
    }

    /// The results of a batch in which `wanted` were, by tap.
    pub(crate) fn results(
        &self,
        wanted: &BTreeSet<usize>,
        tapped: &mut BTreeMap<usize, Vec<Chunk>>,
    ) -> Result<BTreeMap<usize, Arc<[u8]>>> {
        let mut results = BTreeMap::new();
        for slot in self.slots.iter().filter(|slot| wanted.contains(&slot.tap)) {
            let result = joined_chunks(tapped.remove(&slot.tap).unwrap_or_default());
            let result = result.map_err(|message| cannot_keep(slot, message))?;
            results.insert(slot.tap, result);
        }
        Ok(results)
    }

    /// A batch has finished.
    pub(crate) fn finished(&self, batch: &Batch, mut results: BTreeMap<usize, Arc<[u8]>>) {
        for slot in &self.slots {
            slot.finished(batch, results.remove(&slot.tap));
        }
    }

    /// What is to be in a checkpoint after batch `after`, by state.
    pub(crate) fn entries(&self, after: u64) -> Result<Vec<(usize, Vec<Entry>)>> {
        let entries = self.slots.iter().map(|slot| {
            let entries = slot.entries(after);
            let entries = entries.map_err(|message| cannot_keep(slot, message))?;
            Ok((slot.state, entries))
        });
        entries.collect()
    }
}

/// What arrived at a tap, as `Vec<T>` serialises.
pub(crate) fn joined_chunks(chunks: Vec<Chunk>) -> std::result::Result<Arc<[u8]>, String> {
    joined(in_order::<EncodedRecords>(chunks).flatten())
}

fn cannot_keep(slot: &DatasetSlot, message: String) -> Error {
    Error::State {
        name: slot.name.to_string(),
        operator: "datasets".to_owned(),
        message,
    }
}
