//! Segment files: which there are, how one is made, and how it is read.
//!
//! | file | holds |
//! |---|---|
//! | `list` | the files of a log, and whether they join |
//! | `maker` | how files are allocated and mapped on this disk |
//! | `file` | one open segment: published, recycled, mapped |
//! | `new_segment` | one that is being made |
//! | `live` | the segments of an open log: the tail and those before it |
//! | `frame_writer` | writes frames into a segment |
//! | `view` | reading a segment in its map or by copying |
//! | `header` | the header and the length of one file, checked |
//! | `window` | the part of a segment that is ready to be looked at |
//! | `scan` | the one scanner of frames |

pub(crate) mod file;
pub(crate) mod frame_writer;
pub(crate) mod header;
pub(crate) mod list;
pub(crate) mod live;
pub(crate) mod maker;
pub(crate) mod new_segment;
pub(crate) mod scan;
pub(crate) mod view;
pub(crate) mod window;
