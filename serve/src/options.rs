//! Settings of the server.

use highwater_http::Tls;
use highwater_http::service::Access;
use highwater_http::token::Token;
use std::time::Duration;

/// Settings of [`StreamServer::start`](crate::StreamServer::start).
///
/// ```
/// use highwater_serve::ServeOptions;
/// let options = ServeOptions::new().max_body_bytes(1 << 20).allow_origin("https://shop.example");
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct ServeOptions {
    pub(crate) access: Access,
    pub(crate) allow_origin: Option<String>,
    pub(crate) max_body_bytes: usize,
    pub(crate) max_bodies_bytes: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) page_bytes: usize,
    pub(crate) event_bytes: usize,
    pub(crate) long_poll: Duration,
    pub(crate) events_for: Duration,
    pub(crate) max_live: usize,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ServeOptions {
    /// 10,240 connections, of one address too; 10,000 live readers; bodies of up to 16 MiB within
    /// 30 seconds, and 256 MiB of them at a time; pages of 1 MiB; a live read waits for 20 seconds,
    /// and has events for 60; no encryption.
    #[must_use]
    pub fn new() -> Self {
        Self {
            access: Access::new(10_240, 10_240),
            allow_origin: None,
            max_body_bytes: 16 << 20,
            max_bodies_bytes: 256 << 20,
            body_timeout: Duration::from_secs(30),
            page_bytes: 1 << 20,
            event_bytes: 64 << 10,
            long_poll: Duration::from_secs(20),
            events_for: Duration::from_secs(60),
            max_live: 10_000,
        }
    }

    /// Lets pages of this origin (`https://shop.example`), or of all with `*`, use the server from
    /// a browser. Without it, pages of other sites are refused.
    #[must_use]
    pub fn allow_origin(mut self, origin: &str) -> Self {
        self.allow_origin = Some(origin.to_owned());
        self
    }

    /// The longest body of a request. It is also bounded by what fits into the log.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// How many bytes of bodies may be in memory; a request beyond is answered with 429.
    #[must_use]
    pub fn max_bodies_bytes(mut self, bytes: usize) -> Self {
        self.max_bodies_bytes = bytes;
        self
    }

    /// In what time a body must be there.
    #[must_use]
    pub fn body_timeout(mut self, time: Duration) -> Self {
        self.body_timeout = time;
        self
    }

    /// How much of a stream one answer has, at most; a single message may be longer.
    #[must_use]
    pub fn page_bytes(mut self, bytes: usize) -> Self {
        self.page_bytes = bytes.max(1);
        self
    }

    /// How long a read with `live=long-poll` waits.
    #[must_use]
    pub fn long_poll(mut self, time: Duration) -> Self {
        self.long_poll = time;
        self
    }

    /// How long an answer to `live=sse` goes on; then the client asks again.
    #[must_use]
    pub fn events_for(mut self, time: Duration) -> Self {
        self.events_for = time;
        self
    }

    /// How many reads may wait at a time; others are answered with 503.
    #[must_use]
    pub fn max_live(mut self, count: usize) -> Self {
        self.max_live = count;
        self
    }

    /// How many clients may be connected at a time, and how many from one IP address.
    #[must_use]
    pub fn max_connections(mut self, count: usize, per_address: usize) -> Self {
        self.access.max_connections = count.max(1);
        self.access.max_connections_per_address = per_address.max(1);
        self
    }

    /// Only clients that know a token may use it: `Authorization: Bearer <secret>`. May be called
    /// for several; `name` stands in messages, the secret in none. It has 16 bytes or more.
    #[must_use]
    pub fn token(mut self, name: &str, secret: &str) -> Self {
        self.access.tokens.push(Token::new(name, secret));
        self
    }

    /// Encrypts all connections.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.access.tls = Some(tls);
        self
    }

    /// Lets it listen on an address that other machines reach without encryption, or without asking
    /// who they are.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.access.insecure = true;
        self
    }
}
