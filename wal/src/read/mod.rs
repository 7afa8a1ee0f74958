//! Reading records that are durable.
//!
//! | file | holds |
//! |---|---|
//! | `reader` | records of a range, in order |
//! | `chunk` | whole frames of one segment; headers only |
//! | `tail` | following the log; futures of durability |
//! | `cursor` | from frame to frame |
//! | `window` | the part of a segment that a reader has made sure of |
//! | `payload` | handles to the bytes of records |

pub(crate) mod chunk;
pub(crate) mod cursor;
pub(crate) mod payload;
pub(crate) mod reader;
pub(crate) mod tail;
pub(crate) mod window;
