//! Requests and their answers, as the [protocol](https://kafka.apache.org/protocol) has them.
//!
//! | file | holds |
//! |---|---|
//! | `versions` | what is offered |
//! | `metadata` | topics, partitions and where they are |
//! | `produce` | batches to append |
//! | `producer_id` | an id for a producer |
//! | `offsets` | offsets by time |
//! | `fetch` | reading |
//! | `coordinator` | who coordinates a group or a transaction: asked only to be refused |
//! | `sasl` | who the client is |

pub(crate) mod coordinator;
pub(crate) mod fetch;
pub(crate) mod metadata;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod producer_id;
pub(crate) mod sasl;
pub(crate) mod versions;

#[cfg(test)]
mod tests;
