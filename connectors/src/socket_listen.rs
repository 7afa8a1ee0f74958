//! `socket_listen`: a line server with acknowledgements.
//!
//! One thread accepts, one thread serves each connection (see `connection`). All of them end before
//! `run` returns, so a context that has stopped has no thread or socket of this source left.

use crate::connection::{Connection, Framing, close_with};
use crate::lines::Limits;
use highwater_engine::{BoxError, Receiver, SourceContext};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const DEFAULT_MAX_CONNECTIONS: usize = 1024;
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// How long the accept loop rests when it cannot accept, mostly for want of file descriptors.
/// Clients that wait to be accepted. The standard library asks for 128: of more that come at once
/// the others wait for a second each.
const BACKLOG: i32 = 4096;
pub(crate) const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// How long a stopping context lets connections deliver the answers that they owe.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(2);
/// A connection's thread calls nothing deep.
const STACK_BYTES: usize = 512 << 10;

/// Settings of [`Sources::socket_listen_with`](crate::Sources::socket_listen_with).
///
/// ```
/// use highwater_connectors::{BoundAddress, ListenOptions};
/// let bound = BoundAddress::new();
/// let options = ListenOptions::new().dedup().max_connections(64).report_to(&bound);
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct ListenOptions {
    framing: Framing,
    max_line_bytes: Option<usize>,
    max_connections: usize,
    max_connections_per_address: usize,
    idle_timeout: Duration,
    bound: BoundAddress,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ListenOptions {
    /// Every line is a record; 1 MiB per line; 1024 connections, each of them closed after ten idle
    /// minutes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            framing: Framing::Plain,
            max_line_bytes: None,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            max_connections_per_address: usize::MAX,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            bound: BoundAddress::new(),
        }
    }

    /// Every line is `<id> <seq> <line>`, and a retry counts once; it is answered `ok <lsn>
    /// duplicate`.
    #[must_use]
    pub fn dedup(mut self) -> Self {
        self.framing = Framing::Deduplicated;
        self
    }

    /// The longest line in bytes, without its line end but with `<id> <seq> `. Default 1 MiB, or
    /// what the log takes if that is less. A connection's memory is at most about twice this and
    /// half a MiB.
    #[must_use]
    pub fn max_line_bytes(mut self, bytes: usize) -> Self {
        self.max_line_bytes = Some(bytes);
        self
    }

    /// How many clients may be connected at a time, at least 1; the others get `err busy`. Each
    /// takes a thread and a file descriptor. Default 1024.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count.max(1);
        self
    }

    /// How many of them may come from one IP address, at least 1; the others get `err busy`.
    /// Default: as many as may be connected. Clients of one gateway share an address.
    #[must_use]
    pub fn max_connections_per_address(mut self, count: usize) -> Self {
        self.max_connections_per_address = count.max(1);
        self
    }

    /// A client that completes no line for so long gets `err idle` and is disconnected, so that
    /// another can connect. It may be silent, or gone without closing, or send a byte from time to
    /// time. It may connect again. At least 1 ms; default 10 minutes. A slow one may stay up to
    /// twice as long.
    #[must_use]
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.idle_timeout = time.max(Duration::from_millis(1));
        self
    }

    /// Reports the bound address in `bound`: a program that listens on port 0 needs it.
    #[must_use]
    pub fn report_to(mut self, bound: &BoundAddress) -> Self {
        self.bound = bound.clone();
        self
    }
}

/// The address of a `socket_listen`, once its context has started. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct BoundAddress(Arc<Mutex<Option<SocketAddr>>>);

impl BoundAddress {
    /// Not bound yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn set(&self, bound: SocketAddr) {
        *lock(&self.0) = Some(bound);
    }

    /// The address; `None` before
    /// [`StreamingContext::start`](highwater_engine::StreamingContext::start).
    #[must_use]
    pub fn get(&self) -> Option<SocketAddr> {
        *lock(&self.0)
    }
}

/// The receiver.
#[derive(Debug)]
pub(crate) struct SocketListen {
    addr: String,
    options: ListenOptions,
    opened: Option<(TcpListener, Limits)>,
    clients: Arc<Clients>,
}

impl SocketListen {
    pub(crate) fn new(addr: &str, options: ListenOptions) -> Self {
        Self {
            addr: addr.to_owned(),
            options,
            opened: None,
            clients: Arc::default(),
        }
    }

    /// The next client; `None` when the context stops.
    fn accept(listener: &TcpListener, source: &SourceContext) -> Option<(TcpStream, SocketAddr)> {
        loop {
            let accepted = listener.accept();
            if source.is_stopping() {
                return None;
            }
            match accepted {
                Ok(client) => return Some(client),
                Err(e) if is_the_clients_fault(&e) => {}
                Err(error) => {
                    // Too many open files, no memory: it passes. The clients wait in the backlog.
                    source.report_error(&format!("cannot accept connections: {error}").into());
                    if source.rest(ACCEPT_BACK_OFF) {
                        return None;
                    }
                }
            }
        }
    }
}

impl Receiver for SocketListen {
    fn open(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        let limits = Limits::of(source, self.options.max_line_bytes)?;
        let listen = || {
            let listener = TcpListener::bind(&self.addr)?;
            rustix::net::listen(&listener, BACKLOG)?;
            let bound = listener.local_addr()?;
            Ok((listener.try_clone()?, listener, bound))
        };
        let (second, listener, bound) =
            listen().map_err(|e: io::Error| format!("cannot listen on {}: {e}", self.addr))?;
        tracing::info!(source = source.name(), address = %bound, "listening");
        self.options.bound.set(bound);
        let (clients, second) = (
            Arc::clone(&self.clients),
            TcpStream::from(OwnedFd::from(second)),
        );
        source.on_stop(move || {
            clients.stop_reading();
            wake_acceptor(&second, bound);
        });
        self.opened = Some((listener, limits));
        Ok(())
    }

    fn run(&mut self, source: &SourceContext) -> Result<(), BoxError> {
        let Some((listener, limits)) = &self.opened else {
            return Err("run was called before open".into());
        };
        let options = &self.options;
        let (framing, idle_timeout) = (options.framing, options.idle_timeout);
        thread::scope(|scope| {
            while let Some((stream, peer)) = Self::accept(listener, source) {
                let stream = Arc::new(stream);
                let admitted = match Clients::admit(&self.clients, &stream, peer.ip(), options) {
                    Ok(admitted) => admitted,
                    Err(why) => {
                        busy(&stream, &why);
                        continue;
                    }
                };
                let client = Arc::clone(&stream);
                let serve = move || {
                    let _admitted = admitted;
                    Connection {
                        source,
                        stream: &client,
                        peer,
                        framing,
                        limits: *limits,
                        idle_timeout,
                    }
                    .serve();
                };
                let named = thread::Builder::new().name("highwater-connection".to_owned());
                if let Err(error) = named.stack_size(STACK_BYTES).spawn_scoped(scope, serve) {
                    source.report_error(
                        &format!("cannot start a thread for a connection: {error}").into(),
                    );
                    busy(&stream, "no thread for this connection");
                    let _stopping = source.rest(ACCEPT_BACK_OFF);
                }
            }
            self.clients.disconnect();
        });
        Ok(())
    }
}

/// Errors of `accept` that concern only the connection that was to be accepted.
pub(crate) fn is_the_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

/// Turns a client away. Its socket is new, so the few bytes fit its buffer and nothing waits.
fn busy(stream: &TcpStream, why: &str) {
    let _ = stream.set_nonblocking(true);
    close_with(stream, &format!("err busy: {why}\n"));
}

/// Makes a waiting `accept` return. Linux ends it when the listening socket is shut down, which
/// needs neither a file descriptor nor a free place in the backlog; where that is not so, a
/// connection does it.
fn wake_acceptor(listener: &TcpStream, bound: SocketAddr) {
    if listener.shutdown(Shutdown::Read).is_err() {
        let mut to = bound;
        if to.ip().is_unspecified() {
            match to {
                SocketAddr::V4(_) => to.set_ip(Ipv4Addr::LOCALHOST.into()),
                SocketAddr::V6(_) => to.set_ip(Ipv6Addr::LOCALHOST.into()),
            }
        }
        let _ = TcpStream::connect_timeout(&to, STOP_GRACE);
    }
}

/// The connections that are open, so that a stopping context can interrupt them.
#[derive(Debug, Default)]
struct Clients {
    open: Mutex<Open>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Open {
    stopping: bool,
    next: u64,
    streams: BTreeMap<u64, (IpAddr, Arc<TcpStream>)>,
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
struct Admitted {
    clients: Arc<Clients>,
    number: u64,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        lock(&self.clients.open).streams.remove(&self.number);
        self.clients.changed.notify_all();
    }
}

impl Clients {
    /// A place for the client, or why there is none.
    fn admit(
        clients: &Arc<Self>,
        stream: &Arc<TcpStream>,
        from: IpAddr,
        options: &ListenOptions,
    ) -> Result<Admitted, String> {
        let mut open = lock(&clients.open);
        let max = options.max_connections;
        if open.streams.len() >= max {
            return Err(format!("{max} connections are open"));
        }
        let max = options.max_connections_per_address;
        if open.streams.values().filter(|(ip, _)| *ip == from).count() >= max {
            return Err(format!("{max} connections of your address are open"));
        }
        if open.stopping {
            let _ = stream.shutdown(Shutdown::Read);
        }
        let number = open.next;
        open.next += 1;
        open.streams.insert(number, (from, Arc::clone(stream)));
        Ok(Admitted {
            clients: Arc::clone(clients),
            number,
        })
    }

    /// Ends every blocking read; answers can still be written.
    fn stop_reading(&self) {
        let mut open = lock(&self.open);
        open.stopping = true;
        for (_, stream) in open.streams.values() {
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    /// Waits for the connections to end; who has not after the grace (its client does not read) is
    /// cut off.
    fn disconnect(&self) {
        let open = lock(&self.open);
        let waited = self
            .changed
            .wait_timeout_while(open, STOP_GRACE, |open| !open.streams.is_empty());
        let (open, _timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        for (_, stream) in open.streams.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// What is guarded is whole between any two statements, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
