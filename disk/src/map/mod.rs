//! Maps of files, for appending and for reading.
//!
//! | file | holds |
//! |---|---|
//! | `append` | a mapped file to which many threads append without a lock |
//! | `read` | a file mapped for reading |
//! | `backing` | what an append map stands on |
//! | `refusal` | who asks an append map, and what it answers |
//! | `distance` | how far away the other appenders are |
//! | `sync` | the primitives of the lock-free core |

pub(crate) mod append;
pub(crate) mod backing;
pub(crate) mod distance;
pub(crate) mod read;
pub(crate) mod refusal;
#[doc(hidden)]
pub mod sync;
