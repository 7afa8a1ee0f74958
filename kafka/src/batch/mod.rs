//! Batches of records, version 2 ([format](https://kafka.apache.org/documentation/#recordbatch)).
//!
//! | file | holds |
//! |---|---|
//! | `read` | taking a batch apart that a client has sent |
//! | `record` | the records of a batch, one by one |
//! | `write` | making a batch of messages |
//! | `codec` | decompressing, within bounds |
//! | `varint` | numbers of seven bits a byte |
//! | `refused` | why a batch is not taken |

pub(crate) mod codec;
pub(crate) mod read;
pub(crate) mod record;
pub(crate) mod refused;
pub(crate) mod varint;
pub(crate) mod write;

#[cfg(test)]
mod tests;
