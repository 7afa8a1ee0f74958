//! What a recovery would have to do, and how long that takes.
//!
//! | file | holds |
//! |---|---|
//! | `lineage` | what would have to be replayed |
//! | `pace` | how fast batches run, and how fast they come |
//! | `recovery_costs` | what a recovery would cost |

pub(crate) mod lineage;
pub(crate) mod pace;
pub(crate) mod recovery_costs;
