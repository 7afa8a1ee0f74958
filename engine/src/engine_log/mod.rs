//! What the engine writes into the log, and reads back.
//!
//! | file | holds |
//! |---|---|
//! | `entry` | its own records: program, cut, committed |
//! | `program` | what belongs to a directory: the application, its sources |
//! | `frame_header` | the first record of a source's frame |
//! | `producers` | which records of which producer the log already holds |
//! | `replay` | what the log holds after a position |

pub(crate) mod entry;
pub(crate) mod frame_header;
pub(crate) mod producers;
pub(crate) mod program;
pub(crate) mod replay;
