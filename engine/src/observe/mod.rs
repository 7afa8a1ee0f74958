//! What others can see of a running context.
//!
//! | file | holds |
//! |---|---|
//! | `status` | its state and progress |
//! | `lineage` | what would have to be replayed |
//! | `throttle` | a bound on warnings that outsiders can cause |

pub(crate) mod lineage;
pub(crate) mod status;
pub(crate) mod throttle;
