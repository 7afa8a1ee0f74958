//! A server with a thread of its own.

use crate::service::{STOP_GRACE, Service};
use crate::transport::serve;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::{fmt, io};
use tokio::sync::watch;

/// A listener that no connection was accepted on yet. A service learns from it where it is, and
/// when it ends, before there is a server.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
    stop: watch::Sender<bool>,
}

impl Bound {
    /// Listens at `addr`: `host:port`, port 0 for any.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn listen(addr: &str) -> io::Result<Self> {
        let (listener, addr) = serve::listen(addr)?;
        Ok(Self {
            listener,
            addr,
            stop: watch::Sender::new(false),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// True as soon as the server is to end: long answers end then.
    #[must_use]
    pub fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Begins to serve. `name` is that of its threads, at most 15 bytes of it.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn start(self, name: &str, service: impl Service) -> io::Result<Server> {
        let (listener, stopped) = (self.listener, self.stop.subscribe());
        let workers = name.to_owned();
        let (built, is_built) = sync_channel(1);
        let thread = thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || {
            let runtime = match serve::runtime(&workers) {
                Ok(runtime) => runtime,
                Err(error) => return drop(built.send(Err(error))),
            };
            let _ = built.send(Ok(()));
            let service = Arc::new(service);
            let served = runtime.block_on(serve::serve(listener, Arc::clone(&service), stopped));
            // Tasks that are left are cut off: they have had their time.
            runtime.shutdown_timeout(STOP_GRACE);
            if let Err(error) = served {
                tracing::error!(name = service.name(), %error, "the server has ended");
            }
        })?;
        if let Ok(Err(error)) = is_built.recv() {
            return Err(error);
        }
        Ok(Server {
            addr: self.addr,
            stop: self.stop,
            thread: Some(thread),
        })
    }
}

/// A server that runs. Dropped, it stops.
#[must_use = "it stops when it is dropped"]
pub struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Server {
    /// Answers that are on their way have two seconds. When it returns, no thread or socket of it
    /// is left.
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
