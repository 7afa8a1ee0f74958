//! Settings of the server.

use highwater_http::Tls;
use highwater_http::service::Access;
use highwater_http::token::Token;
use highwater_streams::Retention;

/// Settings of [`KafkaServer::start`](crate::KafkaServer::start).
///
/// ```
/// use highwater_kafka::KafkaOptions;
/// let options = KafkaOptions::new().topic("orders", 4).advertised("broker.example:9092");
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    pub(crate) access: Access,
    pub(crate) prefix: String,
    pub(crate) topics: Vec<(String, u32)>,
    pub(crate) auto_create: bool,
    pub(crate) retention: Option<Retention>,
    pub(crate) advertised: Option<String>,
    pub(crate) max_requests_bytes: usize,
    pub(crate) max_answers_bytes: usize,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl KafkaOptions {
    /// 1,024 connections, of one address too; requests of up to 256 MiB at a time, and answers; no
    /// topic is created because a client names it; no encryption.
    #[must_use]
    pub fn new() -> Self {
        Self {
            access: Access::new(1024, 1024),
            prefix: String::new(),
            topics: Vec::new(),
            auto_create: false,
            retention: None,
            advertised: None,
            max_requests_bytes: 256 << 20,
            max_answers_bytes: 256 << 20,
        }
    }

    /// What comes before the name of a topic in the name of its stream. Partition 0 is the stream
    /// `<prefix><topic>`, partition n the stream `<prefix><topic>/n`. With `/v1/stream/` topics are
    /// what a server of the same streams over HTTP has under that path. Default: nothing.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Has a topic with so many partitions: what is missing of it is created at the start. It may
    /// have more partitions than before, and not fewer.
    #[must_use]
    pub fn topic(mut self, name: &str, partitions: u32) -> Self {
        self.topics.push((name.to_owned(), partitions));
        self
    }

    /// Creates a topic, of one partition, when a client asks for it that would like that.
    #[must_use]
    pub fn auto_create(mut self) -> Self {
        self.auto_create = true;
        self
    }

    /// How much is kept of topics that this server creates. Default: as the streams say.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// What clients are told to connect to: `host:port`. Default: the address that they have
    /// reached, which is wrong behind a proxy.
    #[must_use]
    pub fn advertised(mut self, address: &str) -> Self {
        self.advertised = Some(address.to_owned());
        self
    }

    /// How many bytes of long requests may be in memory. Others wait for room: their connections
    /// are not read.
    #[must_use]
    pub fn max_requests_bytes(mut self, bytes: usize) -> Self {
        self.max_requests_bytes = bytes;
        self
    }

    /// How many bytes of answers with data may be in memory. Others wait for room.
    #[must_use]
    pub fn max_answers_bytes(mut self, bytes: usize) -> Self {
        self.max_answers_bytes = bytes;
        self
    }

    /// How many clients may be connected at a time, and how many from one IP address.
    #[must_use]
    pub fn max_connections(mut self, count: usize, per_address: usize) -> Self {
        self.access.max_connections = count.max(1);
        self.access.max_connections_per_address = per_address.max(1);
        self
    }

    /// Only clients that know a token may use it: SASL with the mechanism PLAIN, `name` as the user
    /// and the secret as the password. May be called for several; the secret stands in no message.
    /// It has 16 bytes or more.
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
