//! Settings of the HTTP receiver.

use crate::http::retry::KEY_HEADER;
use crate::socket_listen::BoundAddress;
use highwater_engine::KeyWindow;
use highwater_http::service::Access;
use highwater_http::tls::Tls;
use highwater_http::token::Token;
use hyper::header::HeaderName;
use std::time::Duration;

/// Headers whose values mean something else.
const TAKEN: [&str; 10] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "producer-epoch",
    "producer-id",
    "producer-seq",
    "transfer-encoding",
];

/// Settings of [`Sources::http_with`](crate::Sources::http_with).
///
/// ```
/// use highwater_connectors::{BoundAddress, HttpOptions};
/// let bound = BoundAddress::new();
/// let options = HttpOptions::new().max_body_bytes(1 << 20).report_to(&bound);
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct HttpOptions {
    pub(super) max_body_bytes: usize,
    pub(super) body_timeout: Duration,
    pub(super) min_rate: (u64, Duration),
    pub(super) access: Access,
    pub(super) max_bytes_in_flight: usize,
    pub(super) max_bytes_of_sender: Option<usize>,
    pub(super) bound: BoundAddress,
    pub(super) key_headers: Vec<HeaderName>,
    pub(super) bad_key_header: Option<String>,
    pub(super) key_window: KeyWindow,
    pub(super) requires_id: bool,
    pub(super) answer_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpOptions {
    /// Bodies of up to 16 MiB within 30 seconds; heads within 10; 10,240 connections, 256 from one
    /// address; 256 MiB of bodies at a time; no encryption.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_body_bytes: 16 << 20,
            body_timeout: Duration::from_secs(30),
            min_rate: (1024, Duration::from_secs(5)),
            access: Access::new(10_240, 256),
            max_bytes_in_flight: 256 << 20,
            max_bytes_of_sender: None,
            bound: BoundAddress::new(),
            key_headers: vec![KEY_HEADER],
            bad_key_header: None,
            key_window: KeyWindow::default(),
            requires_id: false,
            answer_timeout: Duration::from_secs(30),
        }
    }

    /// The longest body, in bytes. Default 16 MiB. What its records need in the log must also fit
    /// one frame: the smaller of the two counts. A longer one is answered with 413.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// A body that is not there after so long is answered with 408. Default 30 s.
    #[must_use]
    pub fn body_timeout(mut self, time: Duration) -> Self {
        self.body_timeout = time;
        self
    }

    /// A body that comes slower is answered with 408: so many bytes each second, once the first
    /// `after` are over. Default 1024, after 5 s. With zero bytes, [`Self::body_timeout`] alone
    /// counts.
    #[must_use]
    pub fn min_body_rate(mut self, bytes_per_second: u64, after: Duration) -> Self {
        self.min_rate = (bytes_per_second, after);
        self
    }

    /// A connection on which no head of a request is complete for so long is closed: also one that
    /// rests between two requests. Default 10 s.
    #[must_use]
    pub fn head_timeout(mut self, time: Duration) -> Self {
        self.access.head_timeout = time;
        self
    }

    /// A connection whose client takes nothing of its answers for so long is cut. Default 30 s.
    #[must_use]
    pub fn write_timeout(mut self, time: Duration) -> Self {
        self.access.write_timeout = time;
        self
    }

    /// How many clients may be connected at a time, at least 1. When there is one more, the
    /// connection that has rested for longest is closed: one without a request under way. While
    /// all have one, further clients wait. Each takes a file descriptor. Default 10,240.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.access.max_connections = count.max(1);
        self
    }

    /// How many of them may come from one IP address, at least 1; the others are closed at once.
    /// Default 256. Clients of one gateway share an address.
    #[must_use]
    pub fn max_connections_per_address(mut self, count: usize) -> Self {
        self.access.max_connections_per_address = count.max(1);
        self
    }

    /// How many bytes of requests are in memory at a time, for all clients together: their bodies,
    /// and the headers of those whose body is not there yet. Beyond that a request is answered with
    /// 429. Default 256 MiB.
    #[must_use]
    pub fn max_bytes_in_flight(mut self, bytes: usize) -> Self {
        self.max_bytes_in_flight = bytes;
        self
    }

    /// How many of these bytes may be of one sender, by the name of its [`Self::token`]. Beyond
    /// that its requests are answered with 429. Default: half of them, if there are several
    /// senders, so that one of them cannot keep the others out.
    #[must_use]
    pub fn max_bytes_in_flight_of_sender(mut self, bytes: usize) -> Self {
        self.max_bytes_of_sender = Some(bytes);
        self
    }

    /// Only senders that know a token may write: `Authorization: Bearer <secret>`. May be called
    /// for several senders; `name` stands in messages, the secret in none. It has 16 bytes or more,
    /// of visible ASCII. Others are answered with 401, before their body is read. Take the secret
    /// from a file or the environment, not from the source text.
    ///
    /// ```
    /// # use highwater_connectors::HttpOptions;
    /// # fn load_secret() -> String { "correct-horse-battery".to_owned() }
    /// let options = HttpOptions::new().token("shop", &load_secret());
    /// assert!(!format!("{options:?}").contains("horse"));
    /// ```
    #[must_use]
    pub fn token(mut self, name: &str, secret: &str) -> Self {
        self.access.tokens.push(Token::new(name, secret));
        self
    }

    /// Encrypts all connections. With it and [`Self::token`], or a [client
    /// authority](Tls::client_ca), the source may listen on an address that other machines reach.
    ///
    /// ```
    /// # use highwater_connectors::{HttpOptions, Tls};
    /// let senders = Tls::files("chain.pem", "key.pem").client_ca("senders.pem");
    /// let options = HttpOptions::new().tls(senders);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.access.tls = Some(tls);
        self
    }

    /// Lets it listen on an address that other machines reach without encryption, or without asking
    /// who they are: who listens on the way reads everything, tokens too; without tokens every
    /// program that reaches it may write. Without this, the context does not start on an address
    /// that is not of the loopback interface, unless it has both.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.access.insecure = true;
        self
    }

    /// Another header than `Idempotency-Key` that holds a key, such as `X-GitHub-Delivery` or
    /// `svix-id`: what a service calls the number of a delivery that it sends again. May be called
    /// for several; a request has one of them.
    /// The context does not start if `name` is no name of a header, or one with another meaning.
    #[must_use]
    pub fn key_header(mut self, name: &str) -> Self {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let parsed = parsed.ok().filter(|name| !TAKEN.contains(&name.as_str()));
        match parsed {
            Some(name) => self.key_headers.push(name),
            None => self.bad_key_header = Some(name.to_owned()),
        }
        self
    }

    /// How long keys are remembered. Default a million keys, and 24 hours.
    #[must_use]
    pub fn key_window(mut self, window: KeyWindow) -> Self {
        self.key_window = window;
        self
    }

    /// Refuses a request by which a retry would not be known, with 400: one without a key and
    /// without a producer's number. Without this it is stored each time that it comes.
    #[must_use]
    pub fn require_id(mut self) -> Self {
        self.requires_id = true;
        self
    }

    /// A request that is stored, and of which the disk has not confirmed so after so long, is
    /// answered with 504 and `"stored": "unknown"`. Default 30 s.
    #[must_use]
    pub fn answer_timeout(mut self, time: Duration) -> Self {
        self.answer_timeout = time;
        self
    }

    /// Reports the bound address in `bound`: a program that listens on port 0 needs it.
    #[must_use]
    pub fn report_to(mut self, bound: &BoundAddress) -> Self {
        self.bound = bound.clone();
        self
    }
}
