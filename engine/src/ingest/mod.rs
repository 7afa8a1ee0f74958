//! How data gets in.
//!
//! | file | holds |
//! |---|---|
//! | `receiver` | what receives; restarted when it fails |
//! | `source_context` | what a receiver works with |
//! | `source` | sources that keep their own data |
//! | `offset_context` | what they work with |
//! | `offset_sources` | what batches have of them |
//! | `sender` | the in-process input |
//! | `stream_queue` | batches that a program gives |
//! | `decoder` | bytes to records, and the check that they decode |
//! | `source_writer` | deduplication and append, for one source |
//! | `frame_id` | the same for frames that count as a whole |
//! | `rate_gate` | the rate of one source |
//! | `admission` | back-pressure, for all sources |
//! | `alarm` | wakes tasks when time has passed |

pub(crate) mod admission;
pub(crate) mod alarm;
pub(crate) mod decoder;
pub(crate) mod frame_id;
pub(crate) mod offset_context;
pub(crate) mod offset_sources;
pub(crate) mod rate_gate;
pub(crate) mod receiver;
pub(crate) mod sender;
pub(crate) mod source;
pub(crate) mod source_context;
pub(crate) mod source_writer;
pub(crate) mod stream_queue;
