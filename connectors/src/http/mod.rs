//! `http`: requests that are answered with 200 when what they carried is on the disk.
//!
//! | file | holds |
//! |---|---|
//! | `options` | settings |
//! | `receiver` | the listener, who may reach it, and stopping |
//! | `connections` | which connections there are, and which one goes when there is no place |
//! | `connection` | one connection: handshake, protocols, ends |
//! | `socket` | a socket that tells when its other end takes nothing |
//! | `tls` | encryption, and taking up new certificates |
//! | `certificate` | certificate, key and client authorities from their files |
//! | `request` | one request: what is looked at, in which order |
//! | `body` | the body, in bounded memory |
//! | `budgets` | which part of the memory each sender may have |
//! | `encoding` | compressed bodies, in bounded memory |
//! | `format` | a body becomes records |
//! | `fuzzing` | what the fuzzer feeds |
//! | `skipped` | records that are left out, and where they were |
//! | `retry` | headers by which a retry is known |
//! | `store` | the records go into the log, as one frame |
//! | `token` | who may write |
//! | `answer` | what the client is told |

mod answer;
mod body;
mod budgets;
mod certificate;
mod connection;
mod connections;
mod encoding;
mod format;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod options;
mod receiver;
mod request;
mod retry;
mod skipped;
mod socket;
mod store;
mod tls;
mod token;

#[cfg(fuzzing)]
pub use fuzzing::body as fuzz_http_body;
pub use options::HttpOptions;
pub(crate) use receiver::HttpReceiver;
pub use tls::Tls;
