//! One connection: its requests are begun in the order in which they come, and answered in it.

use crate::answers::answer::{Answer, Then};
use crate::answers::metadata::Reached;
use crate::door::Door;
use crate::server::requests;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Requests of a connection that wait for their answers; then it is not read on.
const MAX_UNDER_WAY: usize = 32;
/// A client that takes no bytes for so long is cut off.
const MAX_WRITE: Duration = Duration::from_secs(30);

/// How long a client that is refused has to end the connection itself.
const LINGER: Duration = Duration::from_millis(500);

/// An answer, and when its request was there.
pub(crate) type Due = (Instant, Answer);

/// Serves a client until it leaves, or the program stops.
///
/// # Errors
/// If the connection breaks, or its client does not speak the protocol.
pub(crate) async fn serve(stream: TcpStream, door: &Arc<Door>) -> io::Result<()> {
    let local = stream.local_addr()?;
    let reached = door.options.advertised.as_deref().and_then(host_and_port);
    let reached = reached.unwrap_or_else(|| Reached {
        host: local.ip().to_string(),
        port: local.port(),
    });
    let transport = tokio::select! {
        biased;
        () = door.is_stopped() => return Ok(()),
        transport = crate::server::transport::open(stream, door) => transport?,
    };
    let (mut from, mut to) = tokio::io::split(transport);
    let served = serve_requests((&mut from, &mut to), door, &reached).await;
    if matches!(served, Ok(Then::Close)) {
        linger(&mut from).await;
    }
    let _ = timeout(MAX_WRITE, to.shutdown()).await;
    served.map(|_| ())
}

async fn serve_requests(
    (from, to): (
        &mut (impl AsyncRead + Unpin),
        &mut (impl AsyncWrite + Unpin),
    ),
    door: &Arc<Door>,
    reached: &Reached,
) -> io::Result<Then> {
    let (due, mut answers) = mpsc::channel(MAX_UNDER_WAY);
    let reading = requests::read_all(from, door, reached, due);
    let writing = write_all(to, door, &mut answers);
    tokio::pin!(reading, writing);
    tokio::select! {
        biased;
        // All that were begun are answered.
        read = &mut reading => {
            let written = writing.await;
            read.and(written)
        }
        written = &mut writing => written,
    }
}

/// Gives a client time to read why the connection ends, and to end it itself. Some throw away what
/// came together with the end; and where bytes of theirs are not read, the system does.
async fn linger(from: &mut (impl AsyncRead + Unpin)) {
    let rest = async { tokio::io::copy(from, &mut tokio::io::sink()).await };
    let _ = timeout(LINGER, rest).await;
}

/// The parts of `host:port`.
pub(crate) fn host_and_port(address: &str) -> Option<Reached> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then_some(Reached {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

async fn write_all(
    to: &mut (impl AsyncWrite + Unpin),
    door: &Door,
    answers: &mut mpsc::Receiver<Due>,
) -> io::Result<Then> {
    while let Some((began, answer)) = answers.recv().await {
        let reply = answer.await;
        let code = u16::try_from(reply.code.number()).unwrap_or(u16::MAX);
        door.meters.answered(code, began.elapsed());
        let written = timeout(MAX_WRITE, async {
            to.write_all(&reply.bytes).await?;
            to.flush().await
        });
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it takes no answers");
        written.await.map_err(late)??;
        if reply.then == Then::Close {
            return Ok(Then::Close);
        }
    }
    Ok(Then::GoOn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let parts = |text| host_and_port(text).map(|reached| (reached.host, reached.port));
        let parts_of = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(parts("broker:9092"), parts_of("broker", 9092));
        assert_eq!(parts("[::1]:1"), parts_of("::1", 1));
        for bad in ["", "broker", ":9092", "broker:", "broker:99999"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
