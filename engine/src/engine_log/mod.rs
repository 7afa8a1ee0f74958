//! What the engine writes into the log, and reads back.
//!
//! | file | holds |
//! |---|---|
//! | `entry` | its own records: program, cut, committed |
//! | `cut` | the end of a batch's input, and the empty ticks before it |
//! | `program` | what belongs to a directory: the application, its sources |
//! | `envelope` | the first record of a source's frame |
//! | `producers` | which records of which producer the log already holds |
//! | `keys` | which keys of frames the log already holds |
//! | `received` | when the frames that wait were received |
//! | `ledger` | the producers of a source now, and as of the last completed batch |
//! | `log_view` | a log as recovery reads it: open, or looked at |
//! | `replay` | what the log holds after a position |

pub(crate) mod cut;
pub(crate) mod entry;
pub(crate) mod envelope;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod log_view;
pub(crate) mod producers;
pub(crate) mod program;
pub(crate) mod received;
pub(crate) mod replay;
