//! What a frame of a stream is made of.
//!
//! | file | holds |
//! |---|---|
//! | `envelope` | the first record of a frame |
//! | `config` | that of the first frame: what a stream is created with |
//! | `batch` | producers that number their messages |
//! | `links` | how a frame is found without an index |
//! | `codec` | numbers and texts |

pub(crate) mod batch;
pub(crate) mod codec;
pub(crate) mod config;
pub(crate) mod envelope;
pub(crate) mod links;
