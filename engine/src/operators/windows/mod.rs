//! Windows: operators that see several batches at once.
//!
//! | file | holds |
//! |---|---|
//! | `span` | length and slide, and the panes into which they cut time |
//! | `panes` | what a key has in each pane |
//! | `stacks` | the panes of a key, put together without an inverse |
//! | `running` | the panes of a key, put together with an inverse |

pub(crate) mod panes;
pub(crate) mod running;
pub(crate) mod span;
pub(crate) mod stacks;
