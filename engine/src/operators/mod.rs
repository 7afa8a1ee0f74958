//! What users call on streams.
//!
//! | file | holds |
//! |---|---|
//! | `scope` | `StreamScope`: sources and unions |
//! | `dstream` | `DStream`: how streams are read, fused, united |
//! | `single_records` | operators that see one record after the other |
//! | `attempts/` | closures that may fail on one record |
//! | `fallible/` | operators whose closures may fail on a record |
//! | `partitions` | operators that see a batch in partitions |
//! | `whole` | operators that see a whole batch, or two |
//! | `pairs/` | operators of streams of pairs, within a batch |
//! | `keyed_state/` | operators that keep a state for each key |
//! | `borrowed/` | pairs whose keys are borrowed |
//! | `windows/` | operators that see several batches at once |
//! | `output` | operators that end a stream |
//! | `remember` | batches kept in memory, and slices of them |
//! | `source` | reads the records of one source from a chunk of the log |
//! | `stateless` | functions of the chunks of a batch |
//! | `datasets` | results of past batches |
//! | `variables` | counters and broadcast values |

pub(crate) mod attempts;
pub(crate) mod borrowed;
pub(crate) mod datasets;
pub(crate) mod dstream;
mod fallible;
pub(crate) mod keyed_state;
pub(crate) mod output;
pub(crate) mod pairs;
pub(crate) mod partitions;
pub(crate) mod remember;
pub(crate) mod scope;
pub(crate) mod single_records;
pub(crate) mod source;
pub(crate) mod stateless;
pub(crate) mod variables;
pub(crate) mod whole;
mod windows;
