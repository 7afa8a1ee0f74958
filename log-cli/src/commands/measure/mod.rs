//! Judging and measuring a disk.
//!
//! | file | holds |
//! |---|---|
//! | `selftest` | whether a directory is fit for a log |
//! | `bench` | how fast a log in it is |
//! | `bound` | what the disk does with bare writes |

pub(crate) mod bench;
mod bound;
pub(crate) mod selftest;
