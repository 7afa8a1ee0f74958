//! Requests, and what is told of them.

use crate::frame::batch::Batch;
use crate::frame::config::{Lifetime, Retention};
use crate::interface::position::Position;

/// A stream to create.
#[derive(Debug, Clone, Default)]
pub struct NewStream<'a> {
    /// Content type; `None` takes that of the source, or bytes.
    pub content_type: Option<&'a str>,
    /// When it ends by itself; `None` takes that of the source, or never.
    pub lifetime: Option<Lifetime>,
    /// How much of it is kept; `None` takes the default of the server.
    pub retention: Option<Retention>,
    /// First messages: those of a JSON stream, or one body. It may be empty.
    pub messages: &'a [&'a [u8]],
    /// Whether more may follow.
    pub then: Then,
    /// The stream that it is a fork of.
    pub fork: Option<Source<'a>>,
}

/// What a fork begins with.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Name of the source.
    pub name: &'a str,
    /// Where the fork begins; `None` at the end of the source.
    pub offset: Option<Position>,
    /// So much later: at most to the end of the append that has `offset`.
    pub sub_offset: u64,
}

/// What comes after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    /// More may follow.
    #[default]
    Open,
    /// Nothing follows: the stream is closed.
    Closed,
}

/// Messages to append.
#[derive(Debug, Clone, Copy, Default)]
pub struct Append<'a> {
    /// Content type of the messages, which must be that of the stream.
    pub content_type: Option<&'a str>,
    /// Messages of a JSON stream, or one body. Empty is a close without data.
    pub messages: &'a [&'a [u8]],
    /// Whether more may follow.
    pub then: Then,
    /// Who appends.
    pub producer: Option<Producer<'a>>,
    /// Who appends, if it numbers its messages and not its requests.
    pub batch: Option<Batch>,
    /// A text that must ascend from request to request.
    pub stream_sequence: Option<&'a [u8]>,
}

/// Who appends: retries with the same sequence are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer<'a> {
    /// Its id.
    pub id: &'a str,
    /// A later life of the producer has a higher one.
    pub epoch: u64,
    /// Counts the requests of an epoch, from 0 on.
    pub sequence: u64,
}

/// A stream that was created, or was there before in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Whether it is new.
    pub is_new: bool,
    /// What it is now.
    pub stream: StreamInfo,
}

/// A request that was appended, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Whether it was appended before: this was a retry.
    pub is_duplicate: bool,
    /// Where its messages begin; not known of a retry that has no [`Batch`].
    pub first: Option<Position>,
    /// Where the stream ends.
    pub end: Position,
    /// Whether the stream is closed.
    pub is_closed: bool,
    /// The highest accepted sequence of the producer, if one was named.
    pub sequence: Option<u64>,
    /// LSN of the newest frame of the stream: of this request, if it is no retry.
    pub lsn: u64,
}

/// What a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its number: no other stream has it, or will have it.
    pub number: u64,
    /// As it was given when the stream was created.
    pub content_type: String,
    /// Whether its messages are JSON texts.
    pub is_json: bool,
    /// Whether positions count messages: not so, they count bytes.
    pub counts_messages: bool,
    /// First position that can be read.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
    /// Whether nothing follows.
    pub is_closed: bool,
    /// When it ends by itself.
    pub lifetime: Lifetime,
}

/// Where to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Everything that the stream still has.
    Start,
    /// From a position on.
    Position(Position),
    /// What comes from now on.
    End,
}

/// A part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The stream.
    pub stream: StreamInfo,
    /// Where it begins.
    pub from: Position,
    /// Where the next one begins.
    pub next: Position,
    /// Messages of a stream that counts them; bytes of other streams, in pieces as they were
    /// appended.
    pub data: Vec<u8>,
    /// Length of each piece.
    pub lengths: Vec<usize>,
    /// When each piece was received, in milliseconds since the Unix epoch. Where old data was
    /// moved, pieces have the time of the newest of those that were moved together.
    pub received_ms: Vec<u64>,
    /// Whether it reaches the end that the stream has now.
    pub is_up_to_date: bool,
}

impl Page {
    /// The messages, or pieces.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.data;
        self.lengths.iter().map(move |length| {
            let (piece, tail) = rest.split_at_checked(*length).unwrap_or((rest, &[]));
            rest = tail;
            piece
        })
    }
}
