//! What every answer says.

use highwater_http::body::Told;
use highwater_http::head::Denied;
use highwater_http::headers::{self, Refused};
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

pub(super) type Reply = Response<Told>;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// Only what this server itself has: a name or an error of the program that looks like a script is
/// none, and no other page can put this one into a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn page(html: String) -> Reply {
    reply(StatusCode::OK, HTML, Told::whole(html))
}

pub(super) fn twin(value: &impl Serialize) -> Reply {
    match serde_json::to_string(value) {
        Ok(text) => reply(StatusCode::OK, JSON, Told::whole(text)),
        Err(error) => refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            &error.to_string(),
        ),
    }
}

pub(super) fn text(status: StatusCode, content_type: &'static str, text: String) -> Reply {
    reply(status, content_type, Told::whole(text))
}

pub(super) fn feed(events: tokio::sync::mpsc::Receiver<hyper::body::Bytes>) -> Reply {
    reply(StatusCode::OK, "text/event-stream", Told::Feed(events))
}

/// Something whose name changes with its contents.
pub(super) fn for_ever(content_type: &'static str, bytes: &'static str) -> Reply {
    let mut answer = reply(StatusCode::OK, content_type, Told::whole(bytes));
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    answer.headers_mut().insert(CACHE_CONTROL, kept);
    answer
}

pub(super) fn refusal(status: StatusCode, error: &str, reason: &str) -> Reply {
    let text = json!({ "error": error, "reason": reason }).to_string();
    let mut answer = reply(status, JSON, Told::whole(text));
    let refused = Refused {
        retry_after_s: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1),
        closes: status == StatusCode::METHOD_NOT_ALLOWED || status == StatusCode::BAD_REQUEST,
        allow: "GET, HEAD",
    };
    refused.say(&mut answer);
    answer
}

pub(super) fn denied(denied: &Denied) -> Reply {
    let mut answer = refusal(denied.status, denied.error(), &denied.reason);
    let refused = Refused {
        retry_after_s: None,
        closes: true,
        allow: "GET, HEAD",
    };
    refused.say(&mut answer);
    answer
}

fn reply(status: StatusCode, content_type: &'static str, body: Told) -> Reply {
    let mut answer = headers::with_body(status, content_type, body);
    let headers = answer.headers_mut();
    let said = [
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("content-security-policy"), POLICY),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in said {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
