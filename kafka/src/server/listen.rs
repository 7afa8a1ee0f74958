//! Accepting connections.

use crate::door::Door;
use crate::server::connection;
use crate::server::places::Places;
use highwater_http::serve;
use highwater_http::service::STOP_GRACE;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::watch;

/// Accepts and serves until it is stopped, and what is under way then has ended or has had its
/// time.
pub(crate) async fn listen(listener: TcpListener, door: Arc<Door>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let access = &door.options.access;
    let places = Places::new(access.max_connections, access.max_connections_per_address);
    let report = |reason: String| tracing::warn!(reason, "the Kafka server");
    // Each connection has a receiver of it: it is closed when all of them have ended.
    let (ended, is_open) = watch::channel(());
    loop {
        let accepted = tokio::select! {
            biased;
            () = door.is_stopped() => break,
            accepted = serve::accept(&listener, report) => accepted,
        };
        let Some((stream, peer)) = accepted else {
            continue;
        };
        let Some(place) = places.take(peer.ip()) else {
            door.meters.refused();
            continue;
        };
        let (door, is_open) = (Arc::clone(&door), is_open.clone());
        tokio::spawn(async move {
            let (_place, _connected) = (place, door.meters.connected());
            if let Err(error) = connection::serve(stream, &door).await {
                tracing::debug!(%peer, %error, "connection lost");
            }
            drop(is_open);
        });
    }
    drop((listener, is_open));
    if tokio::time::timeout(STOP_GRACE, ended.closed())
        .await
        .is_err()
    {
        tracing::debug!("Kafka connections were cut off");
    }
    Ok(())
}
