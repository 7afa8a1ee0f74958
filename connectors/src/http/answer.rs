//! What a client is told, as JSON.

use crate::http::skipped::Skipped;
use highwater_engine::wal::Lsn;
use highwater_http::head::Denied;
use highwater_http::headers::{self, Refused};
use highwater_http::request_body::BodyError;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

pub(super) type Answer = Response<Full<Bytes>>;

/// Everything of the request is on the disk, but for what was skipped.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The position of its frame in the log; of the newest frame of its producer for a retry.
    pub(super) lsn: u64,
    pub(super) records: usize,
    /// Those that were there already, and were not stored again: all or none.
    pub(super) duplicates: usize,
    /// If the client has asked for it.
    pub(super) skipped: Option<Skipped>,
}

impl Accepted {
    pub(super) fn answer(self) -> Answer {
        let Self {
            lsn,
            records,
            duplicates,
            skipped,
        } = self;
        let skipped = skipped.map_or_else(String::new, |skipped| {
            format!(",\"skipped\":{}", skipped.told())
        });
        let text =
            format!("{{\"duplicates\":{duplicates},\"lsn\":{lsn},\"records\":{records}{skipped}}}");
        with_body(StatusCode::OK, text)
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
    /// It holds once this frame is durable: not before that may it be told.
    pub(super) rests_on: Option<Lsn>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            is_unknown: false,
            retry_after_s: None,
            closes: false,
            rests_on: None,
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

    pub(super) fn resting_on(mut self, lsn: Option<Lsn>) -> Self {
        self.rests_on = lsn;
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
        let stored = match self.is_unknown {
            true => json!("unknown"),
            false => json!(false),
        };
        let error = self.status.canonical_reason().unwrap_or("refused");
        let text = json!({ "error": error, "reason": self.reason, "stored": stored });
        let mut answer = answer(self.status, &text);
        let refused = Refused {
            retry_after_s: self.retry_after_s,
            closes: self.closes,
            allow: "POST",
        };
        refused.say(&mut answer);
        answer
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::new(denied.status, denied.reason).closing()
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self {
            retry_after_s: error.retry_after_s(),
            ..Self::new(error.status(), error.to_string()).closing()
        }
    }
}

/// An answer with a body of JSON.
pub(super) fn answer(status: StatusCode, text: &Value) -> Answer {
    with_body(status, text.to_string())
}

fn with_body(status: StatusCode, text: String) -> Answer {
    headers::with_body(status, "application/json", Full::new(text.into()))
}
