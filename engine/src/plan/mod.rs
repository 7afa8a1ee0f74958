//! The plan: what the user's code described.
//!
//! | file | holds |
//! |---|---|
//! | `graph` | operators, sources and outputs, checked when the program is built |
//! | `record` | what may be a record, a key, a state |
//! | `site` | which closure runs on which record |

pub(crate) mod graph;
pub(crate) mod record;
pub(crate) mod site;
