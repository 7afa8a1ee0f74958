//! What a client is served on.

use crate::door::Door;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// After the handshake, if there is one.
pub(crate) async fn open(stream: TcpStream, door: &Door) -> io::Result<Box<dyn Transport>> {
    let Some(tls) = &door.options.access.tls else {
        return Ok(Box::new(stream));
    };
    let report = |reason: String| tracing::warn!(reason, "the Kafka server");
    let acceptor = tls.acceptor(report).map_err(io::Error::other)?;
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no handshake in time");
    let handshake = timeout(tls.handshake_time(), acceptor.accept(stream));
    let stream = handshake.await.map_err(late)??;
    Ok(Box::new(stream))
}
