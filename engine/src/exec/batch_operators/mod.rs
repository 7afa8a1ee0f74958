//! Batch operators on one worker: what arrives, when they act, and what checkpoints take of them.
//!
//! | file | holds |
//! |---|---|
//! | `batch_work` | a batch operator on one worker, and its state |
//! | `in_context` | running a part of an operator for a batch |
//! | `capturing` | a checkpoint on its way, on one worker |
//! | `arrivals` | what arrives at a batch operator, in the order of the batch |

pub(in crate::exec) mod arrivals;
pub(in crate::exec) mod batch_work;
pub(in crate::exec) mod capturing;
pub(in crate::exec) mod in_context;
