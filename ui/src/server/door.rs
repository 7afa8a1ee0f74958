//! One request: GET and HEAD only, nothing changes anything.

use crate::page::document::{self, Assets};
use crate::server::answer::{self, Reply};
use crate::server::assets::{self, Asset};
use crate::server::feed::Feed;
use crate::server::look::Looks;
use crate::server::options::UiOptions;
use crate::snapshot::{Observed, Phase, Snapshot};
use highwater_http::body::{self, Told};
use highwater_http::head;
use highwater_http::service::{Access, Service};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, watch};

const PLAIN: &str = "text/plain; charset=utf-8";
/// The text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What all requests share.
pub(super) struct Door {
    looks: Arc<Looks>,
    options: UiOptions,
    readers: Arc<Semaphore>,
    assets: Vec<Asset>,
    named: Assets,
    stop: watch::Receiver<bool>,
    /// It listens on the loopback interface: only programs of this machine are to reach it.
    is_local: bool,
}

impl Door {
    pub(super) fn new(
        observed: Arc<dyn Observed>,
        options: UiOptions,
        stop: watch::Receiver<bool>,
        is_local: bool,
    ) -> Self {
        let assets = assets::all();
        Self {
            looks: Arc::new(Looks::new(observed)),
            readers: Arc::new(Semaphore::new(options.max_readers)),
            named: assets::named(&assets),
            assets,
            options,
            stop,
            is_local,
        }
    }
}

impl Service for Door {
    type Body = Told;

    fn name(&self) -> &'static str {
        "page"
    }

    fn access(&self) -> &Access {
        &self.options.access
    }

    fn report_error(&self, reason: String) {
        tracing::warn!(reason, "the server of the page");
    }

    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let is_head = request.method() == Method::HEAD;
        let answer = self.take(request).await;
        match is_head {
            true => body::head_of(answer),
            false => answer,
        }
    }

    fn has_no_place(&self) -> Reply {
        busy("another connection has the place of this one")
    }
}

impl Door {
    async fn take(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        if let Err(denied) = head::check(&head, self.is_local) {
            return answer::denied(&denied);
        }
        if ![Method::GET, Method::HEAD].contains(&head.method) {
            let reason = "nothing can be changed here: GET and HEAD";
            return answer::refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", reason);
        }
        drop(body);
        let path = head.uri.path();
        if let Some(name) = path.strip_prefix("/assets/") {
            let found = self.assets.iter().find(|asset| asset.name == name);
            return found.map_or_else(
                || no_such_path(path),
                |asset| answer::for_ever(asset.content_type, asset.bytes),
            );
        }
        match path {
            "/" => self.page().await,
            "/events" => self.follow(head.method == Method::HEAD),
            "/favicon.ico" => answer::for_ever("image/svg+xml", assets::ICON),
            "/metrics" => self.metrics().await,
            "/health/live" => answer::text(StatusCode::OK, PLAIN, "live\n".to_owned()),
            "/health/ready" => self.ready().await,
            _ => match path.strip_prefix("/api/v1/") {
                Some(twin) => self.twin(twin, path).await,
                None => no_such_path(path),
            },
        }
    }

    async fn page(&self) -> Reply {
        let seen = self.looks.now().await;
        match &seen.now {
            Ok(now) => {
                let refresh_s = self.options.tick.as_secs().max(5);
                answer::page(document::document(now, &self.named, refresh_s))
            }
            Err(why) => unseen(why),
        }
    }

    async fn twin(&self, name: &str, path: &str) -> Reply {
        let seen = self.looks.now().await;
        match &seen.now {
            Ok(now) => twin(now, name).unwrap_or_else(|| no_such_path(path)),
            Err(why) => unseen(why),
        }
    }

    fn follow(&self, is_head: bool) -> Reply {
        let (events, told) = mpsc::channel(1);
        if is_head {
            return answer::feed(told);
        }
        let Ok(place) = Arc::clone(&self.readers).try_acquire_owned() else {
            return busy("too many pages are open");
        };
        let feed = Feed {
            looks: Arc::clone(&self.looks),
            events,
            tick: self.options.tick,
            place,
        };
        tokio::spawn(feed.run(self.stop.clone()));
        answer::feed(told)
    }

    async fn metrics(&self) -> Reply {
        let Some(render) = self.options.metrics.clone() else {
            let reason = "the program has told no exporter: UiOptions::metrics";
            return answer::refusal(StatusCode::NOT_FOUND, "no_metrics", reason);
        };
        let rendered = tokio::task::spawn_blocking(move || render()).await;
        rendered.map_or_else(
            |_| unseen("the exporter has panicked"),
            |text| answer::text(StatusCode::OK, METRICS, text),
        )
    }

    /// Whether the program takes in records and its batches run: for what sends traffic to it.
    async fn ready(&self) -> Reply {
        let seen = self.looks.now().await;
        let (status, text) = match &seen.now {
            Ok(now) => {
                let is_ready = match now.status.phase {
                    Phase::Steady | Phase::CatchingUp | Phase::Waiting => StatusCode::OK,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                let line = format!("{}: {}\n", now.status.phase.title(), now.status.sentence);
                (is_ready, line)
            }
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        };
        answer::text(status, PLAIN, text)
    }
}

/// A part of the snapshot as JSON.
fn twin(now: &Snapshot, name: &str) -> Option<Reply> {
    Some(match name {
        "status" => answer::twin(&now.status),
        "sources" => answer::twin(&now.sources),
        "batches" => answer::twin(&now.batches),
        "checkpoints" => answer::twin(&now.checkpoints),
        "lineage" => answer::twin(&now.lineage),
        "log" => answer::twin(&now.log),
        "receivers" => answer::twin(&now.receivers),
        "dead-letters" => answer::twin(&now.dead_letters),
        "graph" => answer::twin(&now.graph),
        "errors" => answer::twin(&now.errors),
        "config" => answer::twin(&now.config),
        "all" => answer::twin(now),
        _ => return None,
    })
}

fn no_such_path(path: &str) -> Reply {
    let reason = format!(
        "there is no {path:?} here: /, /api/v1/{{status, sources, batches, checkpoints, lineage, log, receivers, dead-letters, \
         graph, errors, config, all}}, /metrics, /health/live, /health/ready"
    );
    answer::refusal(StatusCode::NOT_FOUND, "no_such_path", &reason)
}

fn busy(reason: &str) -> Reply {
    answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", reason)
}

fn unseen(why: &str) -> Reply {
    answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "unseen", why)
}
