//! What a server answers, and who may reach it.

use crate::access::tls::Tls;
use crate::access::token::Token;
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, Response};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

/// How long requests that are on their way have when a server ends.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static;

    /// For the program's log.
    fn name(&self) -> &str;

    /// Who may reach it.
    fn access(&self) -> &Access;

    /// Something is wrong that no client is told of.
    fn report_error(&self, reason: String);

    /// The answer to a request.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// To a request whose connection was told to go: it is not worked on.
    fn has_no_place(&self) -> Response<Self::Body>;
}

/// Who may reach a server, and how long and how many.
#[derive(Debug, Clone)]
pub struct Access {
    /// No head of a request is complete for so long: the connection ends.
    pub head_timeout: Duration,
    /// The client takes nothing of an answer for so long: the connection is cut.
    pub write_timeout: Duration,
    /// In all.
    pub max_connections: usize,
    /// From one IP address.
    pub max_connections_per_address: usize,
    /// Encryption, with its certificate.
    pub tls: Option<Tls>,
    /// Other machines may reach it without encryption, or unknown.
    pub insecure: bool,
    /// Clients need one of these, if there are any.
    pub tokens: Vec<Token>,
}

impl Access {
    /// Heads within 10 seconds, answers taken within 30, no encryption, this machine alone.
    pub fn new(max_connections: usize, max_connections_per_address: usize) -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            max_connections,
            max_connections_per_address,
            tls: None,
            insecure: false,
            tokens: Vec::new(),
        }
    }

    /// Why a token cannot be used, if one cannot.
    pub fn bad_token(&self) -> Option<String> {
        self.tokens.iter().find_map(Token::fault)
    }

    /// Why `bound` is not to be listened on, and what to do; `options` is what those settings are
    /// called.
    pub fn exposure(&self, bound: SocketAddr, options: &str) -> Option<String> {
        let asks = !self.tokens.is_empty() || self.tls.as_ref().is_some_and(Tls::has_client_ca);
        let fault = match (&self.tls, asks) {
            _ if self.insecure || bound.ip().is_loopback() => return None,
            (None, _) => format!(
                "is not encrypted: give it a certificate (`{options}::tls`) and ask clients for a token, listen on \
                 127.0.0.1 behind a proxy that does, or say `{options}::insecure()`"
            ),
            (Some(_), false) => format!(
                "every program there may use it: ask clients for a token (`{options}::token`) or a certificate \
                 (`Tls::client_ca`), or say `{options}::insecure()`"
            ),
            (Some(_), true) => return None,
        };
        Some(format!(
            "{bound} can be reached from other machines, and {fault}"
        ))
    }
}
