//! How data gets in.
//!
//! | file | holds |
//! |---|---|
//! | `source` | sources and receivers |
//! | `input` | the in-process input |
//! | `admission` | deduplication, back-pressure, append, durability |
//! | `producers` | which records of which producer the log already holds |

pub(crate) mod admission;
pub(crate) mod input;
pub(crate) mod producers;
pub(crate) mod source;
