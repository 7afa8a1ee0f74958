//! `kafka`: the partitions of topics, read by offset.
//!
//! | file | holds |
//! |---|---|
//! | `options` | brokers, topics, what a program may set |
//! | `record` | a record, as the stream carries it |
//! | `source` | which offsets a batch has |
//! | `watch` | where partitions begin and end, asked for by a thread of its own |
//! | `reading` | the records of a range |

mod options;
mod reading;
mod record;
mod source;
mod watch;

pub use options::{Kafka, StartAt};
pub use record::KafkaRecord;
pub(crate) use source::KafkaSource;
