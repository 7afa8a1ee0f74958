//! What the HTTP servers of Highwater stand on: connections, their bounds, and who may use them.
//!
//! A server implements [`Service`](service::Service) and is begun with
//! [`Bound::start`](server::Bound::start), or, on a runtime of its own, with [`serve::serve`].
//!
//! | file | holds |
//! |---|---|
//! | `server` | a server with a thread of its own |
//! | `serve` | a listener, its connections, and how they end |
//! | `connection` | one connection: handshake, protocols, ends |
//! | `service` | what a server answers, and who may reach it |
//! | `socket` | a socket that tells when its other end takes nothing |
//! | `connections` | which connections there are, and which one goes when there is no place |
//! | `meters` | what each server counts |
//! | `token` | clients that know a token |
//! | `head` | what is looked at in the head of a request before anything else |
//! | `body` | the body of an answer |
//! | `request_body` | the body of a request, in bounded memory and time |
//! | `headers` | what every answer says in its headers |
//! | `tls` | encryption, and taking up new certificates |
//! | `error` | why a connection ends |
//! | `certificate` | certificate, key and client authorities from their files |

pub mod body;
mod certificate;
mod connection;
mod connections;
mod error;
pub mod head;
pub mod headers;
mod meters;
pub mod request_body;
pub mod serve;
pub mod server;
pub mod service;
mod socket;
pub mod tls;
pub mod token;

pub use meters::METRICS;
pub use tls::Tls;
/// What encrypts: for clients that are to fit.
pub use tokio_rustls;
