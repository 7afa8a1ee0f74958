//! Settings of a log.
//!
//! | file | holds |
//! |---|---|
//! | `settings` | `Options`, what a log is opened with |
//! | `choices` | durability, background, write path, read path, compression |
//! | `append` | `AppendOptions`, how one record is appended |
//! | `check` | whether the settings agree |

pub(crate) mod append;
mod check;
pub(crate) mod choices;
pub(crate) mod settings;
