//! What is known of streams, as their frames say.
//!
//! | file | holds |
//! |---|---|
//! | `table` | all streams, by name and by number |
//! | `stream` | one stream |
//! | `producers` | who has appended to it, and how far |
//! | `batches` | the same of producers that number their messages |

pub(crate) mod batches;
pub(crate) mod producers;
pub(crate) mod stream;
pub(crate) mod table;
