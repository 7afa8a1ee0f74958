//! The receiver: a listener, its connections, and how they end.
//!
//! The runtime belongs to the receiver's thread: when `run` has returned there is no task, thread
//! or socket of this source left.

use crate::http::budgets::Budgets;
use crate::http::connection;
use crate::http::connections::Connections;
use crate::http::options::HttpOptions;
use crate::http::request::Door;
use crate::http::tls::Tls;
use crate::http::token::Token;
use crate::socket_listen::{ACCEPT_BACK_OFF, STOP_GRACE, is_the_clients_fault};
use highwater_engine::{BoxError, Receiver, SourceContext};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

/// Two threads serve all connections.
const THREADS: usize = 2;

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

    fn listen(&self) -> io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind(&self.addr)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    }
}

impl Receiver for HttpReceiver {
    fn open(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        if let Some(fault) = self.options.tokens.iter().find_map(Token::fault) {
            return Err(fault.into());
        }
        if let Some(name) = &self.options.bad_key_header {
            let fault =
                format!("key_header({name:?}): it is no name of a header whose value can be a key");
            return Err(fault.into());
        }
        source.remember_keys(self.options.key_window);
        if let Some(tls) = &self.options.tls {
            tls.open(source)?;
        }
        let opened = self
            .listen()
            .map_err(|e| format!("cannot listen on {}: {e}", self.addr))?;
        let bound = opened.1;
        if !bound.ip().is_loopback()
            && let Some(fault) = exposure(&self.options)
        {
            return Err(format!("{bound} can be reached from other machines, {fault}").into());
        }
        tracing::info!(source = source.name(), address = %bound, encrypted = self.options.tls.is_some(), "listening for HTTP");
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
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("highwater-http")
            .enable_io()
            .enable_time()
            .build()?;
        let door = Arc::new(Door {
            source: source.clone(),
            options: self.options.clone(),
            budgets: Budgets::new(&self.options),
            long_work: Semaphore::new(THREADS),
            has_failed: AtomicBool::new(false),
            is_local: bound.ip().is_loopback(),
        });
        let served = runtime.block_on(serve(listener, door, self.stop.subscribe()));
        // Tasks that are left are cut off: they have had their time.
        runtime.shutdown_timeout(STOP_GRACE);
        served.map_err(Into::into)
    }
}

/// Why an address that other machines reach is not to be listened on, and what to do.
fn exposure(options: &HttpOptions) -> Option<&'static str> {
    let asks = !options.tokens.is_empty() || options.tls.as_ref().is_some_and(Tls::has_client_ca);
    match (&options.tls, asks) {
        _ if options.insecure => None,
        (None, _) => Some(
            "and this source does not encrypt: give it a certificate (`HttpOptions::tls`) and ask senders for a \
             token, listen on 127.0.0.1 behind a proxy that does, or say `HttpOptions::insecure()`",
        ),
        (Some(_), false) => Some(
            "and every program there may write: ask senders for a token (`HttpOptions::token`) or a certificate \
             (`Tls::client_ca`), or say `HttpOptions::insecure()`",
        ),
        (Some(_), true) => None,
    }
}

/// Accepts and serves until the context stops.
async fn serve(
    listener: TcpListener,
    door: Arc<Door>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let options = &door.options;
    let connections =
        Connections::new(options.max_connections, options.max_connections_per_address);
    // Each connection has a receiver of it: it is closed when all of them have ended.
    let (stopped, is_stopped) = watch::channel(false);
    loop {
        let next = async {
            let (stream, peer) = accept(&listener, &door).await?;
            // Without a place it is closed.
            let place = connections.place(peer.ip()).await?;
            Some((stream, peer, place))
        };
        let next = tokio::select! {
            biased;
            _ = stop.wait_for(|stopped| *stopped) => break,
            next = next => next,
        };
        let Some((stream, peer, place)) = next else {
            continue;
        };
        let (door, is_stopped) = (Arc::clone(&door), is_stopped.clone());
        tokio::spawn(async move {
            let source = door.source.clone();
            if let Err(error) = connection::serve(stream, place, door, is_stopped).await {
                tracing::debug!(source = source.name(), %peer, error, "connection lost");
            }
        });
    }
    drop((listener, is_stopped));
    stopped.send_replace(true);
    if tokio::time::timeout(STOP_GRACE, stopped.closed())
        .await
        .is_err()
    {
        tracing::debug!(source = door.source.name(), "requests were cut off");
    }
    Ok(())
}

/// The next client.
async fn accept(
    listener: &tokio::net::TcpListener,
    door: &Door,
) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, peer))
        }
        Err(e) if is_the_clients_fault(&e) => None,
        Err(error) => {
            // Too many open files, no memory: it passes. The clients wait in the backlog.
            let message = format!("cannot accept connections: {error}");
            door.source.report_error(&message.into());
            tokio::time::sleep(ACCEPT_BACK_OFF).await;
            None
        }
    }
}
