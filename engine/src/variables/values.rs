//! The values of all variables as of the end of a batch.

use parking_lot::Mutex;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The values of all variables as of the end of a batch, by index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    pub(crate) counters: Vec<u64>,
    pub(crate) broadcasts: Vec<Option<BroadcastValue>>,
}

/// A broadcast value: as a checkpoint has it, and decoded from that. So it is the same before a
/// restart and after it.
#[derive(Clone)]
pub(crate) struct BroadcastValue {
    pub(crate) encoded: Arc<[u8]>,
    pub(crate) decoded: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for BroadcastValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastValue")
            .field("bytes", &self.encoded.len())
            .finish_non_exhaustive()
    }
}

/// What the handles of one program have in common: the values as of the last finished batch. Its
/// address tells the variables of one program from those of another.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    values: Mutex<Arc<Values>>,
}

impl Newest {
    pub(crate) fn get(&self) -> Arc<Values> {
        Arc::clone(&self.values.lock())
    }

    /// A batch has finished, or a checkpoint was loaded.
    pub(crate) fn set(&self, values: Arc<Values>) {
        *self.values.lock() = values;
    }
}
