//! What users call on streams.
//!
//! | file | holds |
//! |---|---|
//! | `scope` | `StreamScope`: sources and unions |
//! | `dstream` | `DStream` and its stateless operators |
//! | `partitions` | operators that see a batch in partitions |
//! | `whole` | operators that see a whole batch, or two |
//! | `values` | operators that see the values of pairs one by one |
//! | `pairs` | operators of streams of pairs |
//! | `combine` | combines the values of a key to something of another type |
//! | `joins` | operators of two streams of pairs |
//! | `static_joins` | joins with a data set |
//! | `stateful` | what all operators have in common that keep a state for each key |
//! | `state_spec` | what stateful operators can be told beside their function |
//! | `state_stream` | results of `map_with_state`, and its states |
//! | `update_state` | `update_state_by_key` |
//! | `map_with_state` | `map_with_state` |
//! | `windows/` | operators that see several batches at once |
//! | `output` | operators that end a stream |
//! | `remember` | batches kept in memory, and slices of them |
//! | `source` | reads the records of one source from a chunk of the log |
//! | `first_touch` | something for each key, in order of first touch, found by the carried hash |
//! | `chunk_totals` | what a chunk adds up to for each borrowed key |
//! | `key_by_ref` | pairs of a borrowed key and a value, combined chunk by chunk |
//! | `reduced` | one total for each borrowed key, and a state that follows from it |
//! | `exchange` | brings keys to the workers that own them |
//! | `by_group` | what arrived for each key in a batch, key group by key group |
//! | `cogroup` | the same for two streams |
//! | `stateless` | functions of the chunks of a batch |
//! | `datasets` | results of past batches |
//! | `variables` | counters and broadcast values |

pub(crate) mod by_group;
pub(crate) mod chunk_totals;
pub(crate) mod cogroup;
pub(crate) mod combine;
pub(crate) mod datasets;
pub(crate) mod dstream;
pub(crate) mod exchange;
pub(crate) mod first_touch;
pub(crate) mod joins;
pub(crate) mod key_by_ref;
mod map_with_state;
pub(crate) mod output;
pub(crate) mod pairs;
pub(crate) mod partitions;
pub(crate) mod reduced;
pub(crate) mod remember;
pub(crate) mod scope;
pub(crate) mod source;
pub(crate) mod state_spec;
pub(crate) mod state_stream;
pub(crate) mod stateful;
pub(crate) mod stateless;
pub(crate) mod static_joins;
mod update_state;
pub(crate) mod values;
pub(crate) mod variables;
pub(crate) mod whole;
mod windows;
