//! The bytes of a request.

use crate::door::Memory;
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

/// The next request, with its share of `memory` if it is long; `None` if the client has ended.
///
/// # Errors
/// If the connection breaks, or the client takes too long; if it says that the request has a length
/// that none may have.
pub(crate) async fn next(
    from: &mut (impl AsyncRead + Unpin),
    memory: &Memory,
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
        true => memory.room(length).await,
        false => None,
    };
    let mut bytes = vec![0; length];
    let rest = timeout(MAX_FRAME_TIME, from.read_exact(&mut bytes)).await;
    rest.map_err(|_| late("a request did not come in time"))??;
    Ok(Some(Frame { bytes, _room: room }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, io::ErrorKind> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        let (mut from, mut all) = (bytes, Vec::new());
        runtime.block_on(async {
            let memory = Memory::new(1 << 20);
            while let Some(frame) = next(&mut from, &memory).await.map_err(|e| e.kind())? {
                all.push(frame.bytes);
            }
            Ok(all)
        })
    }

    #[test]
    fn frames_are_read_one_by_one() {
        let long = vec![7; SMALL + 1];
        let length = u32::try_from(long.len()).unwrap().to_be_bytes();
        let bytes = [b"\0\0\0\x02ab\0\0\0\0", &length[..], &long].concat();
        assert_eq!(read(&bytes), Ok(vec![b"ab".to_vec(), Vec::new(), long]));
        assert_eq!(read(&bytes[..2]), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(read(&bytes[..5]), Err(io::ErrorKind::UnexpectedEof));
    }

    /// Before a byte of it is taken.
    #[test]
    fn a_length_that_no_request_has_is_refused() {
        let beyond = i32::try_from(MAX_FRAME + 1).unwrap();
        for length in [beyond, i32::MAX, -1, i32::MIN] {
            let read = read(&length.to_be_bytes());
            assert_eq!(read, Err(io::ErrorKind::InvalidData), "{length}");
        }
        let http = read(b"GET / HTTP/1.1\r\n");
        assert_eq!(http, Err(io::ErrorKind::InvalidData));
    }
}
