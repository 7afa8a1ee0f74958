//! Who may use a server.
//!
//! | file | holds |
//! |---|---|
//! | `head` | what is looked at in the head of a request before anything else |
//! | `token` | clients that know a token |
//! | `tls` | encryption, and taking up new certificates |
//! | `certificate` | certificate, key and client authorities from their files |

mod certificate;
pub mod head;
pub mod tls;
pub mod token;
