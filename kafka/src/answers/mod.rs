//! What is done for a request, and what its client is told.
//!
//! An answer has two halves: what is done in the order in which requests come, at once, and a
//! future that waits until it may be told. Requests of a connection are answered in their order.
//!
//! | file | holds |
//! |---|---|
//! | `answer` | the second half of an answer |
//! | `produce` | appending batches |
//! | `messages` | the records of a batch as messages of a stream, and back |
//! | `fetch` | reading |
//! | `offsets` | offsets by time |
//! | `metadata` | topics |
//! | `told` | refusals as codes |

pub(crate) mod answer;
pub(crate) mod fetch;
pub(crate) mod messages;
pub(crate) mod metadata;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod told;
