//! What a server answers, and who may reach it.

use crate::http_server::tls::Tls;
use crate::http_server::token::Token;
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Request, Response};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

/// What answers requests.
pub(crate) trait Service: Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static;

    /// For the program's log.
    fn name(&self) -> &str;

    fn access(&self) -> &Access;

    /// Something is wrong that no client is told of.
    fn report_error(&self, reason: String);

    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// To a request whose connection was told to go: it is not worked on.
    fn has_no_place(&self) -> Response<Self::Body>;
}

/// Who may reach a server, and how long and how many.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) head_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
    pub(crate) tls: Option<Tls>,
    pub(crate) insecure: bool,
    pub(crate) tokens: Vec<Token>,
}

impl Access {
    /// Heads within 10 seconds, answers taken within 30, no encryption, this machine alone.
    pub(crate) fn new(max_connections: usize, max_connections_per_address: usize) -> Self {
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
    pub(crate) fn bad_token(&self) -> Option<String> {
        self.tokens.iter().find_map(Token::fault)
    }

    /// Why `bound` is not to be listened on, and what to do; `options` is what those settings are
    /// called.
    pub(crate) fn exposure(&self, bound: SocketAddr, options: &str) -> Option<String> {
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
