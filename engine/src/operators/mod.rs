//! What users call on streams.
//!
//! | file | holds |
//! |---|---|
//! | `dstream` | `DStream` and its stateless operators |
//! | `pairs` | operators of streams of pairs |
//! | `stateful` | operators that keep state between batches |

pub(crate) mod dstream;
pub(crate) mod pairs;
pub(crate) mod stateful;
