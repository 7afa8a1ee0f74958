//! The manifest: what a checkpoint consists of.
//!
//! | file | holds |
//! |---|---|
//! | `document` | its JSON, checked on reading |
//! | `read` | reading manifests out of a store |
//! | `files` | whether the files that it lists are there |

pub(crate) mod document;
pub(crate) mod files;
pub(crate) mod read;
