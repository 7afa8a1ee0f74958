//! The bytes of a request.

use crate::door::Door;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// The longest request: a batch that fills the log's largest record, and what comes with it.
const MAX_FRAME: usize = (16 << 20) + (64 << 10);
/// Requests of at most so many bytes are read without asking for room.
const SMALL: usize = 64 << 10;
/// A connection that rests for so long ends.
const MAX_REST: Duration = Duration::from_mins(10);
/// A request that has begun is there within this time.
const MAX_FRAME_TIME: Duration = Duration::from_secs(30);

/// A request, as bytes.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// The next request; `None` if the client has ended.
///
/// # Errors
/// If the connection breaks, or the client takes too long; if it says that the request has a length
/// that none may have.
pub(crate) async fn next(
    from: &mut (impl AsyncRead + Unpin),
    door: &Door,
) -> io::Result<Option<Frame>> {
    let mut length = [0; 4];
    let first = timeout(MAX_REST, from.read(&mut length)).await;
    let mut read = first.map_err(|_| late("it rested for too long"))??;
    if read == 0 {
        return Ok(None);
    }
    while let Some(rest) = length.get_mut(read..).filter(|rest| !rest.is_empty()) {
        let more = timeout(MAX_FRAME_TIME, from.read(rest)).await;
        match more.map_err(|_| late("a request did not come in time"))?? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
    }
    let length = i32::from_be_bytes(length);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        let what = format!("a request may have {MAX_FRAME} bytes; is this a Kafka client?");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let room = match length > SMALL {
        true => door.requests.room(length).await,
        false => None,
    };
    let mut bytes = vec![0; length];
    let rest = timeout(MAX_FRAME_TIME, from.read_exact(&mut bytes)).await;
    rest.map_err(|_| late("a request did not come in time"))??;
    Ok(Some(Frame { bytes, _room: room }))
}
