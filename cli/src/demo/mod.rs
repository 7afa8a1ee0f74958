//! `highwater demo`: a durable word count under `kill -9`, compared with the true count.
//!
//! The parent reads text, counts it in one pass, starts the child, sends it the text and kills it.
//! The child is an ordinary Highwater program. Only the child's directory connects one process of
//! it with the next.
//!
//! | folder | holds |
//! |---|---|
//! | `child/` | the program that is killed |
//! | `parent/` | the process that kills it and checks its result |

mod child;
mod parent;

pub(crate) use child::run::run_child;
pub(crate) use parent::run::run;
