//! `highwater dead-letters`: looks at records that were put aside, and asks for their replay.
//!
//! | file | holds |
//! |---|---|
//! | `store` | the dead letters of a directory |
//! | `list`, `show`, `replay` | the commands of that name |

mod list;
mod replay;
mod show;
mod store;

pub(crate) use list::list;
pub(crate) use replay::replay;
pub(crate) use show::show;
