//! Operators whose closures may fail on a record.
//!
//! | file | holds |
//! |---|---|
//! | `policy` | `on_error`, `named`: what becomes of a record that fails |
//! | `careful` | how every operator of single records is built, so that it may refuse some |
//! | `replayed` | the second input of an operator that puts records aside |
//! | `twins` | `try_map`, `try_filter`, ... |
//! | `pairs` | the same for values of pairs |

mod careful;
mod pairs;
mod policy;
mod replayed;
mod twins;
