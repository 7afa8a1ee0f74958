//! What all marks up to a place say.

use crate::format::mark::Mark;
use crate::marks::voids::Voids;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What all marks up to a place say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Shared with the readers that pass over them.
    pub(crate) voids: Arc<Voids>,
    /// Named consumers, and how far they have come.
    pub(crate) cursors: BTreeMap<Arc<str>, u64>,
}

impl Marks {
    /// Goes on with the next mark.
    pub(crate) fn apply(&mut self, mark: &Mark) {
        match mark {
            Mark::Void { from, to } => Arc::make_mut(&mut self.voids).add(*from, *to),
            Mark::Cursor { name, position } => {
                match position {
                    Some(position) => self.cursors.insert(Arc::clone(name), *position),
                    None => self.cursors.remove(name),
                };
            }
        }
    }

    /// Forgets what is said of records that are truncated.
    pub(crate) fn forget_below(&mut self, first: u64) {
        if self.voids.iter().any(|(_, to)| to.get() <= first) {
            Arc::make_mut(&mut self.voids).forget_below(first);
        }
    }
}
