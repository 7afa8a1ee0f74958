//! One request: what is looked at, and in which order.

use crate::address;
use crate::answer::{self, Refusal, Reply};
use crate::look;
use crate::options::ServeOptions;
use crate::write;
use highwater_http::body::Told;
use highwater_http::head;
use highwater_http::request_body::{self, Budget, Pace, WholeBody};
use highwater_http::service::{Access, Service};
use highwater_http::token;
use highwater_streams::Streams;
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::{Method, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Bytes of a body that must come in a second, once this time is over.
const LOWEST_RATE: u64 = 1024;
const LOWEST_RATE_AFTER: Duration = Duration::from_secs(5);

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) streams: Arc<Streams>,
    pub(crate) options: ServeOptions,
    /// Memory for bodies.
    pub(crate) budget: Arc<Budget>,
    pub(crate) max_body_bytes: usize,
    /// Places of those that wait.
    pub(crate) live: Arc<Semaphore>,
    pub(crate) stopped: watch::Receiver<bool>,
    /// Only programs of this machine are to reach it, and no pages of other sites.
    pub(crate) is_local: bool,
    /// Where it is, for clients that do not say what they call it.
    pub(crate) address: String,
}

impl Service for Door {
    type Body = Told;

    fn name(&self) -> &'static str {
        "streams"
    }

    fn access(&self) -> &Access {
        &self.options.access
    }

    fn report_error(&self, reason: String) {
        tracing::warn!(reason, "the server of streams");
    }

    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let answer = self.take(request).await;
        let mut answer = answer.unwrap_or_else(Refusal::answer);
        answer::finish(&mut answer, self.options.allow_origin.as_deref());
        answer
    }

    fn has_no_place(&self) -> Reply {
        let reason = "another connection has the place of this one";
        Refusal::busy(reason).closing().answer()
    }
}

impl Door {
    async fn take(&self, request: Request<Incoming>) -> Result<Reply, Refusal> {
        let (head, body) = request.into_parts();
        head::check(&head, self.is_local)?;
        // A browser asks first, without saying who it is.
        if head.method == Method::OPTIONS {
            return Ok(answer::preflight());
        }
        token::check(&self.options.access.tokens, &head.headers)?;
        let name = address::name(head.uri.path())?;
        match head.method {
            Method::PUT => write::put(self, name, &head, body).await,
            Method::POST => write::post(self, name, &head.headers, body).await,
            Method::DELETE => write::delete(self, name).await,
            Method::HEAD => look::head(self, name).await,
            Method::GET => {
                let query = address::query(head.uri.query())?;
                look::get(self, name, query, &head.headers).await
            }
            _ => Err(Refusal::no_method()),
        }
    }

    /// The body of a request, within its bounds.
    pub(crate) async fn body(&self, body: Incoming) -> Result<WholeBody, Refusal> {
        let pace = Pace {
            within: self.options.body_timeout,
            min_rate: (LOWEST_RATE, LOWEST_RATE_AFTER),
        };
        let read = request_body::read(body, self.max_body_bytes, 0, pace, &self.budget);
        Ok(read.await?)
    }

    /// What a client calls this server.
    pub(crate) fn origin(&self, head: &Parts) -> String {
        let scheme = if self.options.access.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let authority = head.uri.authority().map(|authority| authority.as_str());
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let name = authority.or(host).unwrap_or(&self.address);
        format!("{scheme}://{name}")
    }
}
