//! The manifest: what a checkpoint consists of.
//!
//! | file | holds |
//! |---|---|
//! | `document` | its JSON, checked on reading |
//! | `hex` | 64-bit and 128-bit numbers in it |

pub(crate) mod document;
pub(crate) mod hex;
