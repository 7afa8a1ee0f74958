//! What the operators of a batch are given beside its records.

use crate::plan::source_stream::SourceStream;
use crate::refused::refusals::Refusals;
use crate::variables::scope::Visible;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the operators of a batch are given beside its records.
#[derive(Debug, Clone, Default)]
pub(crate) struct BatchScope {
    /// The values that their closures see.
    pub(crate) visible: Visible,
    /// The taps of datasets whose streams are computed in this batch.
    pub(crate) wanted: Arc<BTreeSet<usize>>,
    /// Where the records of the sources are, if not where the plan says: a replay reads older ones.
    pub(crate) streams: Option<Arc<Vec<SourceStream>>>,
    /// What becomes of records that fail.
    pub(crate) refusals: Refusals,
}
