//! What every HTTP server of this crate stands on: connections, their bounds, and who may use them.
//!
//! | file | holds |
//! |---|---|
//! | `serve` | a listener, its connections, and how they end |
//! | `connection` | one connection: handshake, protocols, ends |
//! | `service` | what a server answers, and who may reach it |
//! | `socket` | a socket that tells when its other end takes nothing |
//! | `connections` | which connections there are, and which one goes when there is no place |
//! | `token` | clients that know a token |
//! | `head` | what is looked at in the head of a request before anything else |
//! | `headers` | what every answer says in its headers |
//! | `tls` | encryption, and taking up new certificates |
//! | `certificate` | certificate, key and client authorities from their files |

mod certificate;
mod connection;
mod connections;
pub(crate) mod head;
pub(crate) mod headers;
pub(crate) mod serve;
pub(crate) mod service;
mod socket;
pub(crate) mod tls;
pub(crate) mod token;
