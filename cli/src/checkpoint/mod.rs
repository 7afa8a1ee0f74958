//! `highwater checkpoint`: looks at checkpoints without changing them.
//!
//! | file | holds |
//! |---|---|
//! | `store` | the checkpoints of a directory, and whether they belong to the log next to them |
//! | `choice` | the checkpoint and the state that a command is about |
//! | `entries` | the entries of a state, decoded |
//! | `meaning` | what the engine means with the bytes of a checkpoint |
//! | `new_store` | the directory that a command writes |
//! | `check` | asks a program what it would do with a directory |
//! | `lineage` | what a recovery would have to do |
//! | `list`, `show`, `diff`, `verify`, `prune`, `drop_state` | the commands of that name |
//! | `state/` | `state`: the entries of a state, as text, JSON, CSV or Parquet |

mod check;
pub(crate) mod choice;
pub(crate) mod diff;
mod drop_state;
pub(crate) mod entries;
mod lineage;
mod list;
mod meaning;
mod new_store;
mod prune;
mod show;
mod state;
pub(crate) mod store;
mod verify;

pub(crate) use check::check;
pub(crate) use diff::diff;
pub(crate) use drop_state::drop_state;
pub(crate) use lineage::lineage;
pub(crate) use list::list;
pub(crate) use prune::prune;
pub(crate) use show::show;
pub(crate) use state::state;
pub(crate) use verify::verify;
