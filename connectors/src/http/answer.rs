//! What a client is told, as JSON.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;

pub(super) type Answer = Response<Full<Bytes>>;

/// Everything of the request is on the disk.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Accepted {
    /// The position of its frame in the log; of the newest frame of its producer for a retry.
    pub(super) lsn: u64,
    pub(super) records: usize,
    /// Those that were there already, and were not stored again: all or none.
    pub(super) duplicates: usize,
}

impl Accepted {
    pub(super) fn answer(self) -> Answer {
        let text = serde_json::to_vec(&self).unwrap_or_default();
        json(StatusCode::OK, text)
    }
}

/// Nothing of the request was stored, or, if `is_unknown`, it may have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) reason: String,
    pub(super) is_unknown: bool,
    pub(super) retry_after_s: Option<u64>,
    /// The rest of the body was not read.
    pub(super) closes: bool,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            is_unknown: false,
            retry_after_s: None,
            closes: false,
        }
    }

    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    pub(super) fn too_many(reason: impl Into<String>, retry_after_s: u64) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, reason)
        }
    }

    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(super) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    pub(super) fn unknown(mut self) -> Self {
        self.is_unknown = true;
        self
    }

    pub(super) fn answer(&self) -> Answer {
        #[derive(Serialize)]
        struct Text<'a> {
            error: &'a str,
            reason: &'a str,
            stored: serde_json::Value,
        }
        let text = Text {
            error: self.status.canonical_reason().unwrap_or("refused"),
            reason: &self.reason,
            stored: match self.is_unknown {
                true => "unknown".into(),
                false => false.into(),
            },
        };
        let mut answer = json(self.status, serde_json::to_vec(&text).unwrap_or_default());
        let headers = answer.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        answer
    }
}

/// An answer with a body of JSON.
pub(super) fn json(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    answer
}
