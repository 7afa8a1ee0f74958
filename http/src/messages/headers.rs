//! What every answer says in its headers.

use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

/// An answer with a body of the type `content`, which a browser is not to take for another one.
pub fn with_body<B>(status: StatusCode, content: &'static str, body: B) -> Response<B> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    answer
}

/// What a refusal says beside its status.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    /// When the client may ask again, in seconds.
    pub retry_after_s: Option<u64>,
    /// Whether the connection ends.
    pub closes: bool,
    /// The methods that there are.
    pub allow: &'static str,
}

impl Refused {
    /// Puts it into the headers of `answer`.
    pub fn say<B>(self, answer: &mut Response<B>) {
        let status = answer.status();
        let headers = answer.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static(self.allow));
        }
    }
}
