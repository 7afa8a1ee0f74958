//! Changing streams.
//!
//! | file | holds |
//! |---|---|
//! | `create` | creating streams, and forks of them |
//! | `append` | appending, closing, deleting |

pub(crate) mod append;
pub(crate) mod create;
