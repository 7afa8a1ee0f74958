//! Settings of the server of states.

use highwater_http::service::Access;
use highwater_http::tls::Tls;
use highwater_http::token::Token;
use std::time::Duration;

/// Settings of [`ServeStates::serve_states`](crate::ServeStates::serve_states).
///
/// ```
/// use highwater_connectors::StateDoorOptions;
/// let options = StateDoorOptions::new().only(["counts"]).max_listed_keys(100);
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct StateDoorOptions {
    pub(super) access: Access,
    pub(super) only: Option<Vec<String>>,
    pub(super) max_wait: Duration,
    pub(super) max_listed_keys: usize,
    pub(super) max_answer_bytes: usize,
    pub(super) max_feeds: usize,
    pub(super) heartbeat: Duration,
}

impl Default for StateDoorOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl StateDoorOptions {
    /// All states; a question may wait 10 seconds; lists of up to 1,000 keys and 16 MiB; 64 clients
    /// that follow changes; 1,024 connections, 256 from one address; no encryption.
    #[must_use]
    pub fn new() -> Self {
        Self {
            access: Access::new(1024, 256),
            only: None,
            max_wait: Duration::from_secs(10),
            max_listed_keys: 1000,
            max_answer_bytes: 16 << 20,
            max_feeds: 64,
            heartbeat: Duration::from_secs(15),
        }
    }

    /// Serves these states alone. A state that is served costs a clone of each key and state that
    /// a batch changes, whether a client asks or not.
    #[must_use]
    pub fn only<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.only = Some(names.into_iter().map(str::to_owned).collect());
        self
    }

    /// How long a question may wait: what `wait_ms` is if the client says nothing, and what it may
    /// ask for at most. Default 10 s.
    #[must_use]
    pub fn max_wait(mut self, time: Duration) -> Self {
        self.max_wait = time;
        self
    }

    /// How many keys one answer lists: what `limit` is if the client says nothing, and what it may
    /// ask for at most. At least 1; default 1,000.
    #[must_use]
    pub fn max_listed_keys(mut self, count: usize) -> Self {
        self.max_listed_keys = count.max(1);
        self
    }

    /// A list ends where it becomes longer than so many bytes, and says that there is more. It has
    /// one key at least. Default 16 MiB.
    #[must_use]
    pub fn max_answer_bytes(mut self, bytes: usize) -> Self {
        self.max_answer_bytes = bytes;
        self
    }

    /// How many clients may follow changes at a time; others are answered with 503. Default 64.
    #[must_use]
    pub fn max_feeds(mut self, count: usize) -> Self {
        self.max_feeds = count;
        self
    }

    /// A client that follows changes gets an empty comment when nothing else came for so long, so
    /// that both ends notice when the other one has gone. Default 15 s.
    #[must_use]
    pub fn heartbeat(mut self, time: Duration) -> Self {
        self.heartbeat = time.max(Duration::from_millis(1));
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
    /// connection that has rested for longest is closed. Default 1,024.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.access.max_connections = count.max(1);
        self
    }

    /// How many of them may come from one IP address, at least 1; the others are closed at once.
    /// Default 256.
    #[must_use]
    pub fn max_connections_per_address(mut self, count: usize) -> Self {
        self.access.max_connections_per_address = count.max(1);
        self
    }

    /// Only clients that know a token may ask: `Authorization: Bearer <secret>`. May be called for
    /// several clients; `name` stands in messages, the secret in none. It has 16 bytes or more, of
    /// visible ASCII. Others are answered with 401. Take the secret from a file or the environment,
    /// not from the source text.
    ///
    /// ```
    /// # use highwater_connectors::StateDoorOptions;
    /// # fn load_secret() -> String { "correct-horse-battery".to_owned() }
    /// let options = StateDoorOptions::new().token("dashboard", &load_secret());
    /// assert!(!format!("{options:?}").contains("horse"));
    /// ```
    #[must_use]
    pub fn token(mut self, name: &str, secret: &str) -> Self {
        self.access.tokens.push(Token::new(name, secret));
        self
    }

    /// Encrypts all connections. With it and [`Self::token`], or a [client
    /// authority](Tls::client_ca), the server may listen on an address that other machines reach.
    ///
    /// ```
    /// # use highwater_connectors::{StateDoorOptions, Tls};
    /// let clients = Tls::files("chain.pem", "key.pem").client_ca("clients.pem");
    /// let options = StateDoorOptions::new().tls(clients);
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.access.tls = Some(tls);
        self
    }

    /// Lets it listen on an address that other machines reach without encryption, or without asking
    /// who they are: then every program that reaches it reads the states. Without this, it does not
    /// start on an address that is not of the loopback interface, unless it has both.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.access.insecure = true;
        self
    }
}
