//! Judging and measuring a disk.
//!
//! | file | holds |
//! |---|---|
//! | `selftest` | whether a directory is fit for a log |
//! | `bench` | how fast a log in it is |

pub(crate) mod bench;
pub(crate) mod selftest;
