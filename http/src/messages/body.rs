//! The body of an answer: whole, or events that come one by one.

use http_body_util::Full;
use hyper::Response;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// The body of an answer.
#[derive(Debug)]
pub enum Told {
    /// All of it.
    Whole(Full<Bytes>),
    /// It comes bit by bit, until all senders are gone.
    Feed(mpsc::Receiver<Bytes>),
}

impl Told {
    /// All of it.
    pub fn whole(body: impl Into<Bytes>) -> Self {
        Self::Whole(Full::new(body.into()))
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Feed(events) => events
                .poll_recv(cx)
                .map(|event| Some(Ok(Frame::data(event?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Feed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Feed(_) => SizeHint::default(),
        }
    }
}

/// The same answer without its body, for HEAD.
#[must_use]
pub fn head_of(answer: Response<Told>) -> Response<Told> {
    let length = answer.body().size_hint().exact();
    let mut answer = answer.map(|_| Told::Whole(Full::default()));
    if let Some(length) = length {
        answer
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    answer
}
