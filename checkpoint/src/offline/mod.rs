//! What tools do with the checkpoints of a store that they never write into.
//!
//! | file | holds |
//! |---|---|
//! | `meaning` | what the bytes of keys and values mean, as far as tools must know |
//! | `compare` | what differs between two checkpoints |
//! | `audit` | every byte of a store, checked |
//! | `pruning` | what the newest checkpoints need, and what they do not |
//! | `copy` | checkpoints, copied into an empty store |
//! | `without` | a checkpoint without one of its states, in an empty store |

pub(crate) mod audit;
pub(crate) mod compare;
pub(crate) mod copy;
pub(crate) mod meaning;
pub(crate) mod pruning;
pub(crate) mod without;
