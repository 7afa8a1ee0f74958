//! What one stream of results keeps, and asks for.

use crate::batch::Batch;
use crate::codec::message_pack;
use crate::datasets::lineage::DatasetLineage;
use crate::datasets::stored::{Cache, ResultKey, Stored};
use crate::error::Result;
use crate::observe::event::{ContextEvent, ContextListener};
use crate::state::encoded::Entry;
use parking_lot::Mutex;
use std::any::{TypeId, type_name};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

/// Kind of the state of a dataset in checkpoints.
pub(crate) const DATASET: &str = "dataset";

/// Computes results of past batches again.
pub(crate) trait Recompute: Send + Sync {
    /// What the tap `tap` had in batch `batch`, as `Vec<T>` serialises. `name` is that of the
    /// dataset, for messages.
    fn recompute(&self, name: &str, tap: usize, batch: u64) -> Result<Arc<[u8]>>;

    /// How it would be computed.
    fn lineage(&self, name: &str, batch: u64) -> Result<DatasetLineage>;

    /// Id and time of the batches that the log still has, in order.
    fn batches(&self) -> Result<Vec<(u64, u64)>>;
}

/// The results of one stream.
pub(crate) struct DatasetSlot {
    pub(crate) name: Arc<str>,
    /// Its state, by index.
    pub(crate) state: usize,
    /// The tap that its stream ends in, by index.
    pub(crate) tap: usize,
    /// The type of its records, and its name.
    pub(crate) records: (TypeId, &'static str),
    recompute: OnceLock<Weak<dyn Recompute>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The last finished batch.
    last: u64,
    cache: Cache,
    /// Results go into checkpoints this often, in milliseconds of batch time, and so many are kept.
    schedule: Option<(u64, usize)>,
    /// The results that checkpoints have, and those that the next one will have.
    checkpointed: BTreeMap<u64, Stored>,
}

impl DatasetSlot {
    pub(crate) fn new<T: 'static>(name: &str, state: usize, tap: usize) -> Self {
        Self {
            name: Arc::from(name),
            state,
            tap,
            records: (TypeId::of::<T>(), type_name::<T>()),
            recompute: OnceLock::new(),
            inner: Mutex::default(),
        }
    }

    /// The context is open: past batches can be computed again.
    pub(crate) fn bind(&self, recompute: Weak<dyn Recompute>) {
        let _bound_before = self.recompute.set(recompute);
    }

    pub(crate) fn recompute(&self) -> Option<Arc<dyn Recompute>> {
        self.recompute.get().and_then(Weak::upgrade)
    }

    pub(crate) fn persist(&self, max_bytes: u64) {
        self.inner.lock().cache.bound(max_bytes);
    }

    pub(crate) fn schedule(&self, interval_ms: u64, keep: usize) {
        self.inner.lock().schedule = Some((interval_ms.max(1), keep.max(1)));
    }

    /// The last finished batch, 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.inner.lock().last
    }

    /// A result that is kept, and where.
    pub(crate) fn stored(&self, batch: u64) -> Option<(Arc<[u8]>, DatasetLineage)> {
        let inner = self.inner.lock();
        if let Some(stored) = inner.cache.get(batch) {
            return Some((Arc::clone(&stored.bytes), DatasetLineage::Cached));
        }
        let stored = inner.checkpointed.get(&batch)?;
        let lineage = match stored.checkpoint {
            Some(checkpoint) => DatasetLineage::Checkpointed { checkpoint },
            None => DatasetLineage::Cached,
        };
        Some((Arc::clone(&stored.bytes), lineage))
    }

    /// Id and time of the batches whose results are kept.
    pub(crate) fn kept(&self) -> Vec<(u64, u64)> {
        let inner = self.inner.lock();
        let checkpointed = inner.checkpointed.values().map(|stored| stored.key);
        let keys = inner.cache.keys().chain(checkpointed);
        keys.map(|key| (key.batch, key.time_ms)).collect()
    }

    /// The result is to be in the next checkpoint, and in later ones.
    pub(crate) fn ask(&self, batch: u64, time_ms: u64, bytes: Arc<[u8]>) {
        let mut inner = self.inner.lock();
        let key = ResultKey {
            batch,
            time_ms,
            asked: true,
        };
        let checkpointed = inner.checkpointed.entry(batch);
        let stored = checkpointed.or_insert_with(|| Stored::new(key, bytes));
        stored.key.asked = true;
    }

    /// The result need not be in later checkpoints.
    pub(crate) fn release(&self, batch: u64) {
        self.inner.lock().checkpointed.remove(&batch);
    }

    /// Whether the result of a batch will be kept.
    pub(crate) fn wants(&self, batch: &Batch) -> bool {
        let inner = self.inner.lock();
        inner.cache.max_bytes > 0 || inner.is_due(batch)
    }

    /// A batch has finished; `result` is there if it was wanted.
    pub(crate) fn finished(&self, batch: &Batch, result: Option<Arc<[u8]>>) {
        let mut inner = self.inner.lock();
        inner.last = batch.id;
        let Some(bytes) = result else { return };
        let key = ResultKey {
            batch: batch.id,
            time_ms: batch.time_ms,
            asked: false,
        };
        if inner.is_due(batch) {
            let stored = Stored::new(key, Arc::clone(&bytes));
            inner.checkpointed.entry(batch.id).or_insert(stored);
            inner.forget_old();
        }
        inner.cache.put(Stored::new(key, bytes));
    }

    /// The results for a checkpoint after batch `after`.
    pub(crate) fn entries(&self, after: u64) -> std::result::Result<Vec<Entry>, String> {
        let mut inner = self.inner.lock();
        let mut entries = Vec::new();
        for stored in inner.checkpointed.values_mut() {
            let key = message_pack::encode(&stored.key).map_err(|e| e.to_string())?;
            entries.push((key, stored.bytes.to_vec()));
            stored.captured.get_or_insert(after);
        }
        Ok(entries)
    }

    /// Takes over what the checkpoint `checkpoint` has; `last` is its batch.
    pub(crate) fn restore(
        &self,
        entries: Vec<Entry>,
        checkpoint: Option<(u64, u64)>,
    ) -> std::result::Result<(), String> {
        let mut inner = self.inner.lock();
        let (number, last) = checkpoint.unzip();
        inner.last = last.unwrap_or(0);
        for (key, value) in entries {
            let key: ResultKey = message_pack::decode(&key)?;
            let mut stored = Stored::new(key, value.into());
            (stored.captured, stored.checkpoint) = (last, number);
            inner.checkpointed.insert(key.batch, stored);
        }
        Ok(())
    }
}

impl Inner {
    /// Whether the result of `batch` is to be in checkpoints: that of the first batch in each
    /// interval of batch time.
    fn is_due(&self, batch: &Batch) -> bool {
        let Some((interval_ms, _)) = self.schedule else {
            return false;
        };
        let scheduled = self.checkpointed.values().filter(|s| !s.key.asked);
        let newest = scheduled.map(|s| s.key).next_back();
        newest.is_none_or(|newest| {
            newest.batch == batch.id || newest.time_ms / interval_ms != batch.time_ms / interval_ms
        })
    }

    /// Forgets the oldest results beyond those that are to be kept.
    fn forget_old(&mut self) {
        let keep = self.schedule.map_or(0, |(_, keep)| keep);
        let scheduled = self.checkpointed.values().filter(|s| !s.key.asked);
        let ids: Vec<u64> = scheduled.map(|s| s.key.batch).collect();
        for old in ids.iter().rev().skip(keep) {
            self.checkpointed.remove(old);
        }
    }
}

impl ContextListener for DatasetSlot {
    fn on_event(&self, event: &ContextEvent) {
        if let ContextEvent::CheckpointCompleted { number, batch, .. } = event {
            for stored in self.inner.lock().checkpointed.values_mut() {
                if stored.captured.is_some_and(|after| after <= batch.id) {
                    stored.checkpoint = Some(*number);
                }
            }
        }
    }
}

impl fmt::Debug for DatasetSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatasetSlot")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
