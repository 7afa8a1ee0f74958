//! What is asked and told.
//!
//! | file | holds |
//! |---|---|
//! | `requests` | requests, and what is told of them |
//! | `refusal` | why a request is not done |
//! | `position` | places in a stream, as texts |
//! | `record` | messages with a key, headers and a time of their own |
//! | `json` | bodies of JSON streams |
//! | `media_type` | content types |
//! | `bounds` | how long texts may be |

pub(crate) mod bounds;
pub(crate) mod json;
pub(crate) mod media_type;
pub(crate) mod position;
pub(crate) mod record;
pub(crate) mod refusal;
pub(crate) mod requests;
