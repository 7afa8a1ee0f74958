//! Operators of streams of pairs, within a batch.
//!
//! | file | holds |
//! |---|---|
//! | `by_key` | `reduce_by_key`, `group_by_key` |
//! | `values` | operators that see the values of pairs one by one |
//! | `combine` | combines the values of a key to something of another type |
//! | `joins` | operators of two streams of pairs |
//! | `static_joins` | joins with a data set |
//! | `cogroup` | the same for two streams |
//! | `by_group` | what arrived for each key in a batch, key group by key group |
//! | `gathered` | what a batch has brought for each key, by key group |
//! | `first_touch` | something for each key, in order of first touch, found by the carried hash |
//! | `lists` | lists of values, one for each key, in one vector |
//! | `intake` | items of a batch on their way to their keys |
//! | `exchange` | brings keys to the workers that own them |

pub(crate) mod by_group;
pub(crate) mod by_key;
pub(crate) mod cogroup;
pub(crate) mod combine;
pub(crate) mod exchange;
pub(crate) mod first_touch;
mod gathered;
pub(crate) mod intake;
pub(crate) mod joins;
pub(crate) mod lists;
pub(crate) mod static_joins;
pub(crate) mod values;
