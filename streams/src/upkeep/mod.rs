//! What goes on beside requests.
//!
//! | file | holds |
//! |---|---|
//! | `keeper` | checkpoints, ends, space: each when it is due |
//! | `moving` | moving data so that the log can be freed |
//! | `trim` | giving up what is not to be kept |
//! | `meters` | what of it is a metric |

pub(crate) mod keeper;
pub(crate) mod meters;
pub(crate) mod moving;
pub(crate) mod trim;
