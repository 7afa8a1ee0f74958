//! What users call on streams.
//!
//! | file | holds |
//! |---|---|
//! | `scope` | `StreamScope`: sources and unions |
//! | `dstream` | `DStream` and its stateless operators |
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

pub(crate) mod borrowed;
pub(crate) mod datasets;
pub(crate) mod dstream;
pub(crate) mod keyed_state;
pub(crate) mod output;
pub(crate) mod pairs;
pub(crate) mod partitions;
pub(crate) mod remember;
pub(crate) mod scope;
pub(crate) mod source;
pub(crate) mod stateless;
pub(crate) mod variables;
pub(crate) mod whole;
mod windows;
