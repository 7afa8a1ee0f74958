//! Changing streams.
//!
//! | file | holds |
//! |---|---|
//! | `create` | creating streams, and forks of them |
//! | `append` | appending, closing, deleting |
//! | `admit` | whether an append is accepted |
//! | `ids` | ids for producers |

pub(crate) mod admit;
pub(crate) mod append;
pub(crate) mod create;
pub(crate) mod ids;
