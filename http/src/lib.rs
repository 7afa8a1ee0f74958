//! What the HTTP servers of Highwater stand on: connections, their bounds, and who may use them.
//!
//! A server implements [`Service`](service::Service) and is begun with
//! [`Bound::start`](server::Bound::start), or, on a runtime of its own, with [`serve::serve`].
//!
//! | file or folder | holds |
//! |---|---|
//! | `server` | a server with a thread of its own |
//! | `transport` | connections, from the listener to their ends |
//! | `meters` | what each server counts |
//! | `service` | what a server answers, and who may reach it |
//! | `access` | who may use it: heads, tokens, encryption |
//! | `messages` | bodies and headers |
//! | `error` | why a connection ends |

mod access;
mod error;
mod messages;
mod meters;
pub mod server;
pub mod service;
mod transport;

pub use access::tls::Tls;
pub use access::{head, tls, token};
pub use messages::{body, headers, request_body};
pub use meters::{METRICS, Meters};
/// What encrypts: for clients that are to fit.
pub use tokio_rustls;
pub use transport::serve;
