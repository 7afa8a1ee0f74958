//! One connection: its handshake, its requests, and the ways in which it ends.

use crate::access::head::MAX_HEADERS;
use crate::error::BoxError;
use crate::meters::Meters;
use crate::service::{Access, STOP_GRACE, Service};
use crate::transport::connections::{Awaits, Place, Seat, Sentence, Untaken, Working};
use crate::transport::socket::{Socket, Transport};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};

/// The head of a request, in bytes.
const MAX_HEAD_BYTES: u32 = 16 << 10;
/// HTTP/2: requests of one connection at a time; what of one body, and of all bodies of a
/// connection, may be on its way here; and answers, which are short.
const MAX_STREAMS: u32 = 128;
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 512 << 10;
const MAX_SEND_BYTES: usize = 16 << 10;
/// HTTP/2: streams that were reset before they were looked at, and those that were reset here for
/// an error of the client.
const MAX_PENDING_RESETS: usize = 20;
const MAX_LOCAL_RESETS: usize = 1024;
/// HTTP/2: a client that does not answer a ping is gone.
const PING: Duration = Duration::from_secs(20);
/// Farther than any time-out that matters.
const FAR: Duration = Duration::from_hours(24 * 365);

/// Why a connection ends.
enum End {
    /// The program stops.
    Stop,
    /// No request came in time.
    Rested,
    /// Its client takes no answers.
    Stuck,
    Sentence(Sentence),
}

/// Serves a client until it leaves, the program stops, or it is to be served no more.
///
/// # Errors
/// If the connection breaks, or its client does not speak HTTP.
pub(crate) async fn serve<S: Service>(
    stream: TcpStream,
    place: Place,
    (service, meters): (Arc<S>, Arc<Meters>),
    mut stop: watch::Receiver<bool>,
) -> Result<(), BoxError> {
    let seat = place.seat();
    let (transport, protocols) = tokio::select! {
        biased;
        _ = stop.wait_for(|stopped| *stopped) => return Ok(()),
        _ = seat.sentenced() => return Ok(()),
        opened = open(stream, seat, &*service) => opened?,
    };
    let answers = service_fn(|request| {
        let (service, meters) = (Arc::clone(&service), Arc::clone(&meters));
        let working = seat.begin();
        async move { Ok::<_, Infallible>(answer(&*service, &meters, working, request).await) }
    });
    let connection = protocols.serve_connection(TokioIo::new(transport), answers);
    let mut connection = pin!(connection);
    let mut is_told = false;
    loop {
        let end = tokio::select! {
            biased;
            result = connection.as_mut() => return result,
            _ = stop.wait_for(|stopped| *stopped) => End::Stop,
            end = end(seat, service.access()) => end,
        };
        match end {
            // Those who wait for all connections give it its time.
            End::Stop => {
                connection.as_mut().graceful_shutdown();
                return connection.await;
            }
            // Its client may have begun a request just now: it gets its answer.
            End::Rested if !is_told => {
                is_told = true;
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    biased;
                    result = connection.as_mut() => return result,
                    _ = seat.sentenced() => {}
                    () = sleep(STOP_GRACE) => {}
                }
            }
            End::Rested => return Err("no request came".into()),
            // It is told, if its socket takes that, and cut.
            End::Sentence(Sentence::Shed) => {
                connection.as_mut().graceful_shutdown();
                poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx).is_ready())).await;
                return Err("another one has its place".into());
            }
            End::Sentence(Sentence::Resets) => return Err("it takes back its requests".into()),
            End::Stuck => return Err("it takes no answers".into()),
        }
    }
}

/// HTTP/1.1 and HTTP/2, told apart by how the client begins, within their bounds.
fn protocols() -> auto::Builder<TokioExecutor> {
    let mut protocols = auto::Builder::new(TokioExecutor::new());
    // The time for a head is that of `Awaits::Head`, which knows both protocols.
    protocols
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES as usize)
        .max_headers(MAX_HEADERS);
    protocols
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(MAX_SEND_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    protocols
}

/// What the client is served on, after its handshake if there is one, and what is spoken there.
async fn open<S: Service>(
    stream: TcpStream,
    seat: &Arc<Seat>,
    service: &S,
) -> Result<(Box<dyn Transport>, auto::Builder<TokioExecutor>), BoxError> {
    let socket = Socket::new(stream, Arc::clone(seat));
    let Some(tls) = &service.access().tls else {
        return Ok((Box::new(socket), protocols()));
    };
    let acceptor = tls.acceptor(|reason| service.report_error(reason))?;
    let handshake = acceptor.accept(socket);
    let handshake = timeout(tls.handshake_timeout, handshake);
    let stream = handshake.await.map_err(|_| "no handshake in time")??;
    // From now on it is a request that is waited for.
    seat.moves();
    let protocols = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => protocols().http2_only(),
        _ => protocols().http1_only(),
    };
    Ok((Box::new(stream), protocols))
}

async fn answer<S: Service>(
    service: &S,
    meters: &Meters,
    working: Option<Working>,
    request: Request<Incoming>,
) -> Response<Taking<S::Body>> {
    let Some(working) = working else {
        let refusal = service.has_no_place();
        return refusal.map(|body| Taking { body, until: None });
    };
    let began = Instant::now();
    let answer = service.answer(request).await;
    meters.answered(answer.status().as_u16(), began.elapsed());
    let mut until = working.answered();
    if answer.body().is_end_stream() {
        // Nothing is asked of an empty body: it is let go when the head is written.
        until.taken();
    }
    let until = Some(until);
    answer.map(|body| Taking { body, until })
}

/// Until the connection ends for a reason of its own: how long its client may take for what it does
/// next, or because it was told to go.
///
/// Requests that come and go wake it not. It looks at least as often as the shortest of these times
/// lasts: what its client has to do next began after the last look, so its time is not over sooner.
async fn end(seat: &Seat, access: &Access) -> End {
    let shortest = access.head_timeout.min(access.write_timeout);
    loop {
        let now = Instant::now();
        let (due, end) = match seat.awaits() {
            Some(Awaits::Head(since)) => (since.checked_add(access.head_timeout), End::Rested),
            Some(Awaits::Taking(since)) => (since.checked_add(access.write_timeout), End::Stuck),
            None => (None, End::Rested),
        };
        if due.is_some_and(|due| due <= now) {
            return end;
        }
        let next_look = now.checked_add(shortest).unwrap_or(now + FAR);
        let due = due.map_or(next_look, |due| due.min(next_look));
        tokio::select! {
            biased;
            sentence = seat.sentenced() => return End::Sentence(sentence),
            () = sleep_until(due) => {}
        }
    }
}

/// The body of an answer, until the transport has taken it.
struct Taking<B> {
    body: B,
    until: Option<Untaken>,
}

impl<B> Body for Taking<B>
where
    B: Body<Data = Bytes, Error = Infallible> + Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(until) = &mut self.until {
            match frame.is_ready() {
                true => until.taken(),
                false => until.has_nothing(),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
