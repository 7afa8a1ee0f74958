//! Results of past batches: kept in memory, kept in checkpoints, or computed again.
//!
//! | file | holds |
//! |---|---|
//! | `handle` | `Datasets` and `Dataset`: what users ask |
//! | `lineage` | how a result would be had |
//! | `slot` | what one stream of results keeps, and asks for |
//! | `stored` | results in encoded form, and the bound on them |
//! | `declared` | the datasets of a program, and how a batch changes them |

pub(crate) mod declared;
pub(crate) mod handle;
pub(crate) mod lineage;
pub(crate) mod slot;
pub(crate) mod stored;
