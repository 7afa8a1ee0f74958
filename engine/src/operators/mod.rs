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
//! | `stateful` | operators that keep state between batches |
//! | `windows/` | operators that see several batches at once |
//! | `output` | operators that end a stream |
//! | `remember` | batches kept in memory, and slices of them |
//! | `source` | reads the records of one source from a chunk of the log |
//! | `first_touch` | something for each key, in order of first touch, found by the carried hash |
//! | `exchange` | brings keys to the workers that own them |
//! | `by_group` | what arrived for each key in a batch, key group by key group |
//! | `cogroup` | the same for two streams |
//! | `stateless` | functions of the chunks of a batch |

pub(crate) mod by_group;
pub(crate) mod cogroup;
pub(crate) mod combine;
pub(crate) mod dstream;
pub(crate) mod exchange;
pub(crate) mod first_touch;
pub(crate) mod joins;
pub(crate) mod output;
pub(crate) mod pairs;
pub(crate) mod partitions;
pub(crate) mod remember;
pub(crate) mod scope;
pub(crate) mod source;
pub(crate) mod stateful;
pub(crate) mod stateless;
pub(crate) mod static_joins;
pub(crate) mod values;
pub(crate) mod whole;
#[allow(dead_code, reason = "the operators come next")]
pub(crate) mod windows;
