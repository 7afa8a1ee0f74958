//! What a client is told.

use highwater_http::body::Told;
use highwater_http::head::Denied;
use highwater_http::headers::Refused;
use highwater_http::request_body::BodyError;
use highwater_streams::{Error, Lifetime, Position, StreamInfo};
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::json;
use tokio::sync::mpsc;

pub(crate) type Reply = Response<Told>;

pub(crate) const NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
pub(crate) const UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
pub(crate) const CLOSED: HeaderName = HeaderName::from_static("stream-closed");
pub(crate) const CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
pub(crate) const TTL: HeaderName = HeaderName::from_static("stream-ttl");
pub(crate) const EXPIRES_AT: HeaderName = HeaderName::from_static("stream-expires-at");
pub(crate) const LSN: HeaderName = HeaderName::from_static("highwater-lsn");
pub(crate) const EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
pub(crate) const SEQUENCE: HeaderName = HeaderName::from_static("producer-seq");
const EXPECTED: HeaderName = HeaderName::from_static("producer-expected-seq");
const RECEIVED: HeaderName = HeaderName::from_static("producer-received-seq");

pub(crate) const TRUE: HeaderValue = HeaderValue::from_static("true");
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const ALLOW: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    whole(status, Bytes::new())
}

pub(crate) fn whole(status: StatusCode, body: Bytes) -> Reply {
    let mut answer = Response::new(Told::whole(body));
    *answer.status_mut() = status;
    answer
}

/// Events that come through a channel.
pub(crate) fn feed(events: mpsc::Receiver<Bytes>) -> Reply {
    let mut answer = Response::new(Told::Feed(events));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store"),
    );
    answer
}

/// A header with a number, or another text that is sound by how it is made.
pub(crate) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &(impl ToString + ?Sized)) {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        headers.insert(name, value);
    }
}

/// Where the stream ends, or the next read begins.
pub(crate) fn next_offset(headers: &mut HeaderMap, position: Position) {
    insert(headers, NEXT_OFFSET, &position);
}

/// What HEAD and PUT say of a stream.
pub(crate) fn describe(headers: &mut HeaderMap, stream: &StreamInfo) {
    insert(headers, CONTENT_TYPE, &stream.content_type);
    next_offset(headers, stream.end);
    if stream.is_closed {
        headers.insert(CLOSED, TRUE);
    }
    match &stream.lifetime {
        Lifetime::IdleSeconds(seconds) => insert(headers, TTL, seconds),
        Lifetime::Until { text, .. } => insert(headers, EXPIRES_AT, text),
        _ => {}
    }
}

/// What every answer says, a refusal too.
pub(crate) fn finish(answer: &mut Reply, allow_origin: Option<&str>) {
    let headers = answer.headers_mut();
    let fixed = [
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "cross-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(origin) = allow_origin {
        insert(
            headers,
            HeaderName::from_static("access-control-allow-origin"),
            origin,
        );
        headers.insert(
            "access-control-expose-headers",
            HeaderValue::from_static(EXPOSED),
        );
        if origin != "*" {
            headers.insert("vary", HeaderValue::from_static("origin"));
        }
    }
}

const EXPOSED: &str = "stream-next-offset, stream-up-to-date, stream-closed, stream-cursor, stream-ttl, stream-expires-at, \
                       stream-sse-data-encoding, producer-epoch, producer-seq, producer-expected-seq, \
                       producer-received-seq, highwater-lsn, etag, location, retry-after";

/// To a preflight: every method and header of the protocol. Whether the page may go on is said by
/// [`finish`].
pub(crate) fn preflight() -> Reply {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    let headers_allowed = "authorization, content-type, if-none-match, stream-seq, stream-ttl, stream-expires-at, \
                           stream-closed, stream-forked-from, stream-fork-offset, stream-fork-sub-offset, producer-id, \
                           producer-epoch, producer-seq, highwater-retain-bytes, highwater-retain-seconds, \
                           highwater-retain-positions";
    headers.insert(
        "access-control-allow-methods",
        HeaderValue::from_static(ALLOW),
    );
    headers.insert(
        "access-control-allow-headers",
        HeaderValue::from_static(headers_allowed),
    );
    headers.insert("access-control-max-age", HeaderValue::from_static("86400"));
    headers.insert("allow", HeaderValue::from_static(ALLOW));
    answer
}

/// Why a request is not done.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    /// For programs.
    error: &'static str,
    /// For people.
    reason: String,
    headers: Vec<(HeaderName, String)>,
    retry_after_s: Option<u64>,
    closes: bool,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: &'static str, reason: impl Into<String>) -> Self {
        Self {
            status,
            error,
            reason: reason.into(),
            headers: Vec::new(),
            retry_after_s: None,
            closes: false,
        }
    }

    pub(crate) fn bad(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    pub(crate) fn not_found(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", reason)
    }

    pub(crate) fn no_method() -> Self {
        let reason = format!("streams have {ALLOW}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", reason).closing()
    }

    pub(crate) fn busy(reason: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", reason).retry_after(1)
    }

    pub(crate) fn stopped() -> Self {
        let reason = "the server stops";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", reason).closing()
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(crate) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    fn with(mut self, name: HeaderName, value: &(impl ToString + ?Sized)) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// To PUT: a name that is taken is taken, also by a stream that is gone.
    pub(crate) fn of_create(mut self) -> Self {
        if self.status == StatusCode::GONE {
            self.status = StatusCode::CONFLICT;
        }
        self
    }

    pub(crate) fn answer(self) -> Reply {
        let text = json!({ "error": self.error, "reason": self.reason }).to_string();
        let mut answer = whole(self.status, text.into());
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, NO_STORE);
        for (name, value) in self.headers {
            insert(headers, name, &value);
        }
        let refused = Refused {
            retry_after_s: self.retry_after_s,
            closes: self.closes,
            allow: ALLOW,
        };
        refused.say(&mut answer);
        answer
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::new(denied.status, denied.error(), denied.reason).closing()
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let what = match &error {
            BodyError::TooLong { .. } => "too_large",
            BodyError::Late(_) => "timeout",
            BodyError::TooMany => "too_many",
            BodyError::BrokeOff(_) => "bad_request",
        };
        Self {
            retry_after_s: error.retry_after_s(),
            ..Self::new(error.status(), what, error.to_string()).closing()
        }
    }
}

impl From<highwater_streams::Refusal> for Refusal {
    fn from(refusal: highwater_streams::Refusal) -> Self {
        use highwater_streams::Refusal as Why;
        let reason = refusal.to_string();
        let new = |status, error| Self::new(status, error, reason.clone());
        match refusal {
            Why::NotFound | Why::SourceNotFound(_) => new(StatusCode::NOT_FOUND, "not_found"),
            Why::Gone => new(StatusCode::GONE, "gone"),
            Why::Truncated { start } => {
                new(StatusCode::GONE, "truncated").with(NEXT_OFFSET, &start)
            }
            Why::Exists => new(StatusCode::CONFLICT, "exists"),
            Why::SourceGone => new(StatusCode::CONFLICT, "source_gone"),
            Why::Closed { end } => new(StatusCode::CONFLICT, "closed")
                .with(CLOSED, "true")
                .with(NEXT_OFFSET, &end),
            Why::ContentType { .. } => new(StatusCode::CONFLICT, "content_type"),
            Why::StreamSequence => new(StatusCode::CONFLICT, "sequence"),
            Why::StaleEpoch { current } => {
                new(StatusCode::FORBIDDEN, "stale_epoch").with(EPOCH, &current)
            }
            Why::Gap { expected, received } => new(StatusCode::CONFLICT, "gap")
                .with(EXPECTED, &expected)
                .with(RECEIVED, &received),
            Why::TooLarge { .. } => new(StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Why::TooManyStreams { .. } => new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams"),
            _ => new(StatusCode::BAD_REQUEST, "bad_request"),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        let unavailable = |error| Self::new(StatusCode::SERVICE_UNAVAILABLE, error, reason.clone());
        if error.is_log_full() {
            return unavailable("log_full").retry_after(10);
        }
        if error.is_closed() {
            return Self::stopped();
        }
        tracing::error!(%error, "a request failed");
        match error {
            // Whether what was appended is stored is not known.
            Error::Log(_) => unavailable("log_failed").closing(),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", reason),
        }
    }
}
