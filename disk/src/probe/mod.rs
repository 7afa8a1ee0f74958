//! For tools: what the machine does with data in a directory. The log itself uses nothing here.
//!
//! | file | holds |
//! |---|---|
//! | `commit_cost` | what a commit costs there |
//! | `write_cost` | what bare durable writes cost: the bound of a log |
//! | `scratch` | a directory for the files of a tool |
//! | `output` | whether the reader of a tool's output is still there |

mod commit_cost;
mod output;
mod scratch;
mod write_cost;

pub use crate::os::native::device::Device;
pub use crate::os::write_cache::WriteCache;
pub use commit_cost::{Effort, Extents, can_populate, commit_cost};
pub use output::reader_is_gone;
pub use scratch::Scratch;
pub use write_cost::{BareWrite, write_cost};
