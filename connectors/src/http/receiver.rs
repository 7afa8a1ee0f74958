//! The receiver: a listener, its connections, and how they end.
//!
//! The runtime belongs to the receiver's thread: when `run` has returned there is no task, thread
//! or socket of this source left.

use crate::http::body::Budget;
use crate::http::options::HttpOptions;
use crate::http::request::Door;
use crate::http::token::Token;
use crate::socket_listen::{ACCEPT_BACK_OFF, STOP_GRACE, is_the_clients_fault};
use highwater_engine::{BoxError, Receiver, SourceContext};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The head of a request: its bytes, and its lines.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 100;
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
        let opened = self
            .listen()
            .map_err(|e| format!("cannot listen on {}: {e}", self.addr))?;
        let bound = opened.1;
        if !bound.ip().is_loopback() && !self.options.insecure {
            return Err(format!(
                "{bound} can be reached from other machines, and this source knows no encryption: listen on \
                 127.0.0.1 behind a proxy that does, or say `HttpOptions::insecure()`"
            )
            .into());
        }
        tracing::info!(source = source.name(), address = %bound, "listening for HTTP");
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
            budget: Budget::new(self.options.max_bytes_in_flight),
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

/// Accepts and serves until the context stops.
async fn serve(
    listener: TcpListener,
    door: Arc<Door>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(door.options.max_connections));
    let clients = Arc::new(Clients::default());
    let graceful = GracefulShutdown::new();
    loop {
        let client = tokio::select! {
            biased;
            _ = stop.wait_for(|stopped| *stopped) => break,
            client = accept(&listener, &places, &door) => client,
        };
        let Some((stream, peer, place)) = client else {
            continue;
        };
        let most = door.options.max_connections_per_address;
        let Some(admitted) = Clients::admit(&clients, peer.ip(), most, place) else {
            continue; // closed
        };
        let (door, watcher) = (Arc::clone(&door), graceful.watcher());
        tokio::spawn(async move {
            let _admitted = admitted;
            let serve = service_fn(|request| {
                let door = Arc::clone(&door);
                async move { Ok::<_, Infallible>(door.answer(request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(door.options.head_timeout)
                .max_buf_size(MAX_HEAD_BYTES)
                .max_headers(MAX_HEADERS)
                .serve_connection(TokioIo::new(stream), serve);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(source = door.source.name(), %peer, %error, "connection lost");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_GRACE, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::debug!(source = door.source.name(), "requests were cut off");
    }
    Ok(())
}

/// The next client, once there is a place for it.
async fn accept(
    listener: &tokio::net::TcpListener,
    places: &Arc<Semaphore>,
    door: &Door,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, peer, place))
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

/// How many connections each address has.
#[derive(Debug, Default)]
struct Clients {
    by_address: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
struct Admitted {
    clients: Arc<Clients>,
    address: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Clients {
    fn admit(
        clients: &Arc<Self>,
        address: IpAddr,
        most: usize,
        place: OwnedSemaphorePermit,
    ) -> Option<Admitted> {
        let mut by_address = clients.lock();
        let count = by_address.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(by_address);
        Some(Admitted {
            clients: Arc::clone(clients),
            address,
            _place: place,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        // A count is never left half changed.
        self.by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut by_address = self.clients.lock();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}
