//! One request. What the log does not need is looked at before the body is read.

use crate::http::answer::{self, Accepted, Answer, Refusal};
use crate::http::budgets::Budgets;
use crate::http::encoding::Encoding;
use crate::http::format::{Format, OnError, Records};
use crate::http::options::HttpOptions;
use crate::http::retry::frame_id;
use crate::http::store::store;
use highwater_engine::wal::Lsn;
use highwater_engine::{FrameId, SourceContext, StoredFrame};
use highwater_http::head::{self, text};
use highwater_http::request_body::{self, Pace, WholeBody};
use highwater_http::service::{Access, Service};
use highwater_http::token;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, StatusCode};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// Longer bodies are cut into records and appended while other threads serve other requests.
const LONG_BODY: usize = 64 << 10;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) source: SourceContext,
    pub(super) options: HttpOptions,
    pub(super) budgets: Budgets,
    /// Long bodies, and those that are compressed, are worked on one after the other.
    pub(super) long_work: Semaphore,
    /// The last request that came to the log was refused by it.
    pub(super) has_failed: AtomicBool,
    /// It listens on the loopback interface: only programs of this machine are to reach it.
    pub(super) is_local: bool,
}

impl Service for Door {
    type Body = Full<Bytes>;

    fn name(&self) -> &str {
        self.source.name()
    }

    fn access(&self) -> &Access {
        &self.options.access
    }

    fn report_error(&self, reason: String) {
        self.source.report_error(&reason.into());
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match self.take(request).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let status = refusal.status;
                if status == StatusCode::SERVICE_UNAVAILABLE && refusal.retry_after_s.is_none() {
                    self.has_failed.store(true, Ordering::Relaxed);
                }
                if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
                    self.source
                        .skip(&format!("a request, with {status}: {}", refusal.reason));
                }
                refusal.answer()
            }
        }
    }

    fn has_no_place(&self) -> Answer {
        let reason = "another connection has the place of this one: nothing was stored";
        let refusal = Refusal::unavailable(reason).retry_after(1).closing();
        refusal.answer()
    }
}

impl Door {
    async fn take(&self, request: Request<Incoming>) -> Result<Answer, Refusal> {
        let (head, body) = request.into_parts();
        head::check(&head, self.is_local)?;
        match (head.uri.path(), &head.method) {
            ("/", &Method::POST) => {}
            ("/health/live" | "/health/ready", &Method::GET) => {
                return self.health(head.uri.path());
            }
            ("/", _) => {
                let reason = "records come with POST";
                return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, reason).closing());
            }
            (path, _) => {
                let reason = format!("{path}: records go to /");
                return Err(Refusal::new(StatusCode::NOT_FOUND, reason).closing());
            }
        }
        let headers = &head.headers;
        let budget = self
            .budgets
            .of(token::check(&self.options.access.tokens, headers)?);
        if self.source.is_stopping() {
            return Err(self.stopping());
        }
        let encoding = Encoding::of(text(headers, "content-encoding")?)?;
        let format = Format::of(text(headers, "content-type")?).map_err(Refusal::closing)?;
        let on_error = OnError::of(head.uri.query()).map_err(Refusal::closing)?;
        let id = frame_id(headers, &self.options.key_headers).map_err(Refusal::closing)?;
        if id.is_none() && self.options.requires_id {
            let reason = "this source wants to know a retry: send an Idempotency-Key, or Producer-Id and Producer-Seq";
            return Err(Refusal::bad(reason).closing());
        }
        let HttpOptions {
            max_body_bytes,
            body_timeout: within,
            min_rate,
            ..
        } = self.options;
        let pace = Pace { within, min_rate };
        // HTTP/2 lets a client have many requests under way at a time.
        let lines = headers.iter().map(|(k, v)| k.as_str().len() + v.len());
        let head_bytes = lines.sum();
        let body = request_body::read(body, max_body_bytes, head_bytes, pace, budget).await?;
        if self.source.is_stopping() {
            return Err(self.stopping());
        }
        self.take_body(body, encoding, (format, on_error), id).await
    }

    /// Stores a whole body, and waits until it is on the disk.
    async fn take_body(
        &self,
        body: WholeBody,
        encoding: Encoding,
        format: (Format, OnError),
        id: Option<FrameId<'_>>,
    ) -> Result<Answer, Refusal> {
        let is_long = body.bytes.len() > LONG_BODY || encoding != Encoding::Identity;
        let work = || self.store(body, encoding, format, id);
        let stored = match is_long {
            true => {
                // Few at a time: each may take a window of its own.
                let _turn = self
                    .long_work
                    .acquire()
                    .await
                    .map_err(|_| self.stopping())?;
                tokio::task::block_in_place(work)
            }
            false => work(),
        };
        let accepted = match stored {
            Ok(accepted) => accepted,
            Err(refusal) => {
                if let Some(lsn) = refusal.rests_on {
                    self.durable(lsn).await?;
                }
                return Err(refusal);
            }
        };
        // Only after this it is on the disk.
        let durable = self.durable(Lsn::new(accepted.lsn));
        durable.await.map_err(Refusal::unknown)?;
        self.has_failed.store(false, Ordering::Relaxed);
        Ok(accepted.answer())
    }

    /// Stores a whole body; it is not on the disk yet.
    fn store(
        &self,
        body: WholeBody,
        encoding: Encoding,
        (format, on_error): (Format, OnError),
        id: Option<FrameId<'_>>,
    ) -> Result<Accepted, Refusal> {
        let body = encoding.decoded(body, self.options.max_body_bytes)?;
        let mut records = format.records(&body.bytes, on_error)?;
        let source = &self.source;
        if on_error == OnError::Skip {
            records.skip(|record| source.check(record.as_bytes()))?;
        }
        let place = |index| records.place(index);
        let StoredFrame { lsn, is_duplicate } = store(source, &records.texts, id, place)?;
        let Records { texts, skipped, .. } = records;
        if !is_duplicate && let Some(first) = skipped.first() {
            (0..skipped.count).for_each(|_| source.skip(&first));
        }
        Ok(Accepted {
            lsn: lsn.get(),
            records: texts.len(),
            duplicates: if is_duplicate { texts.len() } else { 0 },
            skipped: (on_error == OnError::Skip).then_some(skipped),
        })
    }

    /// Waits until what is at `lsn` is on the disk.
    async fn durable(&self, lsn: Lsn) -> Result<(), Refusal> {
        let within = self.options.answer_timeout;
        match tokio::time::timeout(within, self.source.durable(lsn)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.source.report_error(&error.to_string().into());
                Err(Refusal::unavailable(error.to_string()))
            }
            Err(_) => {
                let reason = format!("the disk has not confirmed it within {within:?}");
                self.source.report_error(&reason.clone().into());
                Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, reason))
            }
        }
    }

    fn stopping(&self) -> Refusal {
        let source = self.source.name();
        let reason = format!("source {source:?} is stopping: nothing was stored");
        Refusal::unavailable(reason).retry_after(1).closing()
    }

    fn health(&self, path: &str) -> Result<Answer, Refusal> {
        if path == "/health/ready" && self.source.is_stopping() {
            return Err(self.stopping());
        }
        if path == "/health/ready" && self.has_failed.load(Ordering::Relaxed) {
            return Err(Refusal::unavailable(
                "the log has failed: start the program again",
            ));
        }
        Ok(answer::answer(StatusCode::OK, &serde_json::json!({})))
    }
}
