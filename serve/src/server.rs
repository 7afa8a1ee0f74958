//! The server: how it starts and stops.

use crate::door::Door;
use crate::options::ServeOptions;
use highwater_http::request_body::Budget;
use highwater_http::server::{Bound, Server};
use highwater_streams::Streams;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on, or there is no thread.
    #[error("streams cannot be served at {addr}: {source}")]
    Listen {
        /// As it was given.
        addr: String,
        /// Why.
        source: io::Error,
    },
    /// A setting.
    #[error("streams are not served at {addr}: {what}")]
    BadOptions {
        /// As it was given.
        addr: String,
        /// What is wrong, and what to do.
        what: String,
    },
}

/// A server of streams. Dropped, it stops; the streams stay open.
///
/// ```
/// use highwater_serve::{ServeOptions, StreamServer};
/// use highwater_streams::{Options, Streams};
/// use std::sync::Arc;
/// # let dir = tempfile::tempdir()?;
/// let streams = Arc::new(Streams::open(dir.path(), Options::new())?);
/// let server = StreamServer::start(Arc::clone(&streams), "127.0.0.1:0", ServeOptions::new())?;
/// println!("curl -X PUT http://{}/v1/stream/orders", server.local_addr());
/// drop(server);
/// streams.close()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it stops when it is dropped"]
pub struct StreamServer {
    server: Server,
}

impl StreamServer {
    /// Serves the streams at `addr` (`host:port`, port 0 for any) by the Durable Streams protocol.
    ///
    /// # Errors
    /// [`ServeError::Listen`]; [`ServeError::BadOptions`] for a token or certificate that cannot be
    /// used, and for an address that other machines reach without encryption, or without asking who
    /// they are.
    pub fn start(
        streams: Arc<Streams>,
        addr: &str,
        options: ServeOptions,
    ) -> Result<Self, ServeError> {
        let cannot = |source| ServeError::Listen {
            addr: addr.to_owned(),
            source,
        };
        let bad = |what| ServeError::BadOptions {
            addr: addr.to_owned(),
            what,
        };
        if let Some(what) = options.access.bad_token() {
            return Err(bad(what));
        }
        if let Some(tls) = &options.access.tls {
            tls.open(streams.disk()).map_err(bad)?;
        }
        let bound = Bound::listen(addr).map_err(cannot)?;
        if let Some(what) = options.access.exposure(bound.addr(), "ServeOptions") {
            return Err(bad(what));
        }
        let door = Door {
            budget: Budget::new(options.max_bodies_bytes),
            max_body_bytes: options.max_body_bytes.min(streams.max_body_bytes()),
            live: Arc::new(Semaphore::new(options.max_live.min(Semaphore::MAX_PERMITS))),
            stopped: bound.stopped(),
            is_local: bound.addr().ip().is_loopback() && options.allow_origin.is_none(),
            address: bound.addr().to_string(),
            options,
            streams,
        };
        let server = bound.start("highwater-serve", door).map_err(cannot)?;
        tracing::info!(address = %server.local_addr(), "serving streams");
        Ok(Self { server })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Stops it: clients that wait are answered, and answers that are on their way have two
    /// seconds. When it returns, no thread or socket of it is left.
    pub fn stop(self) {
        drop(self);
    }
}
