//! The receiver: how it starts and stops.
//!
//! The runtime belongs to the receiver's thread: when `run` has returned there is no task, thread
//! or socket of this source left.

use crate::http::budgets::Budgets;
use crate::http::options::HttpOptions;
use crate::http::request::Door;
use highwater_engine::{BoxError, Receiver, SourceContext};
use highwater_http::serve;
use highwater_http::service::STOP_GRACE;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{Semaphore, watch};

/// The receiver.
#[derive(Debug)]
pub(crate) struct HttpReceiver {
    addr: String,
    options: HttpOptions,
    opened: Option<(TcpListener, SocketAddr)>,
    stop: watch::Sender<bool>,
}

impl HttpReceiver {
    pub(crate) fn new(addr: &str, options: HttpOptions) -> Self {
        Self {
            addr: addr.to_owned(),
            options,
            opened: None,
            stop: watch::Sender::new(false),
        }
    }
}

impl Receiver for HttpReceiver {
    fn open(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        let access = &self.options.access;
        if let Some(fault) = access.bad_token() {
            return Err(fault.into());
        }
        if let Some(name) = &self.options.bad_key_header {
            let fault =
                format!("key_header({name:?}): it is no name of a header whose value can be a key");
            return Err(fault.into());
        }
        source.remember_keys(self.options.key_window);
        if let Some(tls) = &access.tls {
            tls.open(source.disk())?;
        }
        let opened = serve::listen(&self.addr)
            .map_err(|e| format!("cannot listen on {}: {e}", self.addr))?;
        let bound = opened.1;
        if let Some(fault) = access.exposure(bound, "HttpOptions") {
            return Err(fault.into());
        }
        tracing::info!(source = source.name(), address = %bound, encrypted = access.tls.is_some(), "listening for HTTP");
        self.options.bound.set(bound);
        let stop = self.stop.clone();
        source.on_stop(move || {
            stop.send_replace(true);
        });
        self.opened = Some(opened);
        Ok(())
    }

    fn run(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        let Some((listener, bound)) = &self.opened else {
            return Err("run was called before open".into());
        };
        let listener = listener.try_clone()?;
        let runtime = serve::runtime("highwater-http")?;
        let door = Arc::new(Door {
            source: source.clone(),
            options: self.options.clone(),
            budgets: Budgets::new(&self.options),
            long_work: Semaphore::new(serve::THREADS),
            has_failed: AtomicBool::new(false),
            is_local: bound.ip().is_loopback(),
        });
        let served = runtime.block_on(serve::serve(listener, door, self.stop.subscribe()));
        // Tasks that are left are cut off: they have had their time.
        runtime.shutdown_timeout(STOP_GRACE);
        served.map_err(Into::into)
    }
}
