//! Reading streams.
//!
//! | file | holds |
//! |---|---|
//! | `read` | reading at a position |
//! | `gather` | what a page is put together from |
//! | `search` | finding frames by their links |
//! | `follow` | waiting for a stream to change |
//! | `when` | finding a position by time |
//! | `info` | looking at a stream |

pub(crate) mod follow;
pub(crate) mod gather;
pub(crate) mod info;
pub(crate) mod read;
pub(crate) mod search;
pub(crate) mod when;
