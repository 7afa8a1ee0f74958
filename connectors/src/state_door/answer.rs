//! What a client is told: JSON, or the events of a feed.

use highwater_engine::{Answer, AskError, Error, JsonEntry};
use highwater_http::body::Told;
use highwater_http::head::Denied;
use highwater_http::headers::{self, Refused};
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::sync::mpsc;

pub(super) type Reply = Response<Told>;

/// Why a question is not answered.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    /// For programs.
    error: &'static str,
    /// For people.
    reason: String,
    /// As of which batch it holds.
    as_of: Option<Answer<()>>,
    retry_after_s: Option<u64>,
    closes: bool,
}

impl Refusal {
    fn new(status: StatusCode, error: &'static str, reason: impl Into<String>) -> Self {
        Self {
            status,
            error,
            reason: reason.into(),
            as_of: None,
            retry_after_s: None,
            closes: false,
        }
    }

    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason)
    }

    pub(super) fn no_such_path(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_path", reason)
    }

    pub(super) fn no_such_state(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_state", reason)
    }

    pub(super) fn no_such_key(key: &str, as_of: Answer<()>) -> Self {
        Self {
            as_of: Some(as_of),
            ..Self::new(
                StatusCode::NOT_FOUND,
                "no_such_key",
                format!("the key {key} has no state"),
            )
        }
    }

    pub(super) fn only_get() -> Self {
        let reason = "states are only read: GET and HEAD";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", reason).closing()
    }

    /// Something has as many as it may have.
    pub(super) fn busy(reason: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", reason).retry_after(1)
    }

    pub(super) fn recovering(as_of: Answer<()>) -> Self {
        let reason = "the batches after the newest checkpoint are still replayed: an answer may be older than one \
                      before the restart. Ask again, or with ?recovering=true";
        Self {
            as_of: Some(as_of),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "recovering", reason).retry_after(1)
        }
    }

    pub(super) fn too_late(reason: impl Into<String>, as_of: Option<Answer<()>>) -> Self {
        Self {
            as_of,
            ..Self::new(StatusCode::GATEWAY_TIMEOUT, "not_there_yet", reason)
        }
    }

    pub(super) fn failed(reason: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", reason)
    }

    pub(super) fn stopped() -> Self {
        let reason = "the program has stopped, or this server of its states has";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", reason).closing()
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(super) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    pub(super) fn answer(&self) -> Reply {
        let mut text = json!({ "error": self.error, "reason": self.reason });
        if let (Some(as_of), Some(fields)) = (&self.as_of, text.as_object_mut()) {
            fields.insert("batch".to_owned(), json!(as_of.batch));
            fields.insert("lsn".to_owned(), json!(as_of.lsn.get()));
        }
        let mut answer = whole(self.status, text.to_string());
        let refused = Refused {
            retry_after_s: self.retry_after_s,
            closes: self.closes,
            allow: "GET, HEAD",
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

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::Ask(AskError::NoKey { .. }) => {
                Self::new(StatusCode::BAD_REQUEST, "no_key", reason)
            }
            Error::Ask(AskError::NotJson { .. }) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "not_json", reason)
            }
            Error::LifeCycle(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_started", reason).retry_after(1)
            }
            // What has stopped it may have parts of its records.
            Error::Stopped | Error::Ended(_) => Self::stopped(),
            _ => Self::failed(&reason),
        }
    }
}

/// The fields that say as of which batch an answer is.
fn as_of<T>(answer: &Answer<T>) -> String {
    let batch = answer
        .batch
        .map_or("null".to_owned(), |batch| batch.to_string());
    let (lsn, time_ms, recovering) = (answer.lsn, answer.time_ms, answer.recovering);
    let lsn = lsn.get();
    format!("\"batch\":{batch},\"lsn\":{lsn},\"time_ms\":{time_ms},\"recovering\":{recovering}")
}

/// The names of the states.
pub(super) fn states<'n>(names: impl Iterator<Item = &'n str>, now: Option<&Answer<()>>) -> Reply {
    let names: Vec<_> = names
        .map(|name| json!({ "name": name }).to_string())
        .collect();
    let as_of = now.map_or_else(String::new, |now| format!(",{}", as_of(now)));
    whole(
        StatusCode::OK,
        format!("{{\"states\":[{}]{as_of}}}", names.join(",")),
    )
}

/// A key with its state, both as JSON.
pub(super) fn entry(key: &str, value: &str, answer: &Answer<()>) -> Reply {
    let as_of = as_of(answer);
    whole(
        StatusCode::OK,
        format!("{{\"key\":{key},\"value\":{value},{as_of}}}"),
    )
}

/// At most `limit` entries, of at most `max_bytes` together, and whether there are more.
pub(super) fn entries(listed: &Answer<Vec<JsonEntry>>, limit: usize, max_bytes: usize) -> Reply {
    let mut text = String::from("{\"entries\":[");
    let mut count = 0;
    for entry in listed.value.iter().take(limit) {
        let value = entry.value.as_deref().unwrap_or("null");
        if count > 0 && text.len() + entry.key.len() + value.len() > max_bytes {
            break;
        }
        let comma = if count > 0 { "," } else { "" };
        text += &format!("{comma}{{\"key\":{},\"value\":{value}}}", entry.key);
        count += 1;
    }
    let (more, as_of) = (count < listed.value.len(), as_of(listed));
    text += &format!("],\"more\":{more},{as_of}}}");
    whole(StatusCode::OK, text)
}

/// The events of a feed.
pub(super) fn feed(events: mpsc::Receiver<Bytes>) -> Reply {
    with_body(StatusCode::OK, "text/event-stream", Told::Feed(events))
}

fn whole(status: StatusCode, text: String) -> Reply {
    with_body(status, "application/json", Told::whole(text))
}

fn with_body(status: StatusCode, content_type: &'static str, body: Told) -> Reply {
    let mut answer = headers::with_body(status, content_type, body);
    let no_store = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(CACHE_CONTROL, no_store);
    answer
}
