//! Reading the files of a checkpoint with few requests, in bounded memory.
//!
//! | file | holds |
//! |---|---|
//! | `in_order` | several requests at once, whose answers are taken in order |
//! | `pieces` | the files of a checkpoint, read in large pieces that are kept for a while |

mod in_order;
pub(crate) mod pieces;
