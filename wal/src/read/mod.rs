//! Reading records that are durable.
//!
//! | file | holds |
//! |---|---|
//! | `reader` | records of a range, in order |
//! | `reverse` | records from the newest to the oldest |
//! | `chunk` | whole frames of one segment, for threads that read side by side |
//! | `headers` | the headers of frames alone |
//! | `frame` | one frame and its records |
//! | `tail` | following the log; futures of durability |
//! | `frame_cursor` | from frame to frame |
//! | `payload` | handles to the bytes of records |

pub(crate) mod chunk;
pub(crate) mod frame;
pub(crate) mod frame_cursor;
pub(crate) mod headers;
pub(crate) mod payload;
pub(crate) mod reader;
pub(crate) mod reverse;
pub(crate) mod tail;
