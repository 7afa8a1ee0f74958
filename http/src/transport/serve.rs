//! A listener, its connections, and how they end.

use crate::meters::Meters;
use crate::service::{STOP_GRACE, Service};
use crate::transport::connection;
use crate::transport::connections::Connections;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The time after an error of `accept` that is not the client's.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// Connections that wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4096;
/// So many threads serve all connections.
pub const THREADS: usize = 2;

/// A listener at `addr` (`host:port`), and where that is.
///
/// # Errors
/// If the address cannot be bound.
pub fn listen(addr: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(addr)?;
    // The standard library asks for 128: of more that come at once the others wait for a second.
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// What a server runs on; `name` is that of its threads.
///
/// # Errors
/// If the system has no threads for it.
pub fn runtime(name: &str) -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name(name)
        .enable_io()
        .enable_time()
        .build()
}

/// Accepts and serves until it is stopped, and what is under way then has ended or has had its
/// time.
///
/// # Errors
/// If the runtime cannot wait for the listener.
pub async fn serve<S: Service>(
    listener: TcpListener,
    service: Arc<S>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let access = service.access();
    let meters = Arc::new(Meters::new(service.name()));
    let connections = Connections::new(access.max_connections, access.max_connections_per_address);
    // Each connection has a receiver of it: it is closed when all of them have ended.
    let (stopped, is_stopped) = watch::channel(false);
    loop {
        let next = async {
            let (stream, peer) = accept(&listener, |reason| service.report_error(reason)).await?;
            // Without a place it is closed.
            let Some(place) = connections.place(peer.ip()).await else {
                meters.refused();
                return None;
            };
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
        let (service, is_stopped) = (Arc::clone(&service), is_stopped.clone());
        let meters = Arc::clone(&meters);
        tokio::spawn(async move {
            let _connected = meters.connected();
            let doors = (Arc::clone(&service), Arc::clone(&meters));
            let served = connection::serve(stream, place, doors, is_stopped);
            if let Err(error) = served.await {
                tracing::debug!(name = service.name(), %peer, error, "connection lost");
            }
        });
    }
    drop((listener, is_stopped));
    stopped.send_replace(true);
    let stopped = tokio::time::timeout(STOP_GRACE, stopped.closed());
    if stopped.await.is_err() {
        tracing::debug!(name = service.name(), "requests were cut off");
    }
    Ok(())
}

/// The next client; `None` if that one has gone, or none can be accepted for the moment: that is
/// told to `report_error`, and waited for.
pub async fn accept(
    listener: &tokio::net::TcpListener,
    report_error: impl Fn(String),
) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, peer))
        }
        Err(e) if is_the_clients_fault(&e) => None,
        Err(error) => {
            // Too many open files, no memory: it passes. The clients wait in the backlog.
            report_error(format!("cannot accept connections: {error}"));
            tokio::time::sleep(ACCEPT_BACK_OFF).await;
            None
        }
    }
}

/// Errors of `accept` that concern only the connection that was to be accepted.
fn is_the_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand clients took a minute to connect: all but 128 of those that came at once were
    /// dropped by the system, and tried again a second later.
    #[test]
    fn many_clients_may_come_at_once() {
        let (_listener, addr) = listen("127.0.0.1:0").unwrap();
        let patience = Duration::from_millis(900);
        let mut clients = Vec::new();
        for count in 0..400 {
            let client = std::net::TcpStream::connect_timeout(&addr, patience);
            clients.push(client.unwrap_or_else(|e| panic!("{count} are waiting: {e}")));
        }
    }
}
