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
//! | `encoding` | compressed bodies, in bounded memory |
//! | `format` | a body becomes records |
//! | `producer` | headers by which a retry is known |
//! | `store` | the records go into the log, as one frame |
//! | `token` | who may write |
//! | `answer` | what the client is told |

mod answer;
mod body;
mod certificate;
mod connection;
mod connections;
mod encoding;
mod format;
mod options;
mod producer;
mod receiver;
mod request;
mod socket;
mod store;
mod tls;
mod token;

pub use options::HttpOptions;
pub(crate) use receiver::HttpReceiver;
pub use tls::Tls;
