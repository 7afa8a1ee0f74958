//! `highwater checkpoint`: looks at checkpoints without changing them.
//!
//! | file | holds |
//! |---|---|
//! | `store` | the checkpoints of a directory, and whether they belong to the log next to them |
//! | `list`, `show` | the commands of that name |

mod list;
mod show;
pub(crate) mod store;

pub(crate) use list::list;
pub(crate) use show::show;
