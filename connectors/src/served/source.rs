//! Named streams of the same process, read by offset.

use crate::served::record::ServedRecord;
use bytes::Bytes;
use highwater_engine::{
    Advance, AdvanceLimit, BoxError, OffsetContext, OffsetRange, ReadError, Source,
};
use highwater_streams::{
    Error, From, Page, Position, RECORDS, Refusal, Streams, is_json, is_records,
};
use std::fmt;
use std::sync::Arc;

/// A range is read by one worker: a large batch of one stream has several.
const PIECE: u64 = 20_000;

/// Bytes that are read at a time.
const PAGE: usize = 1 << 20;

/// What [`Sources::served`](crate::Sources::served) reads, JSON streams that this process serves,
/// and [`Sources::served_records`](crate::Sources::served_records), streams of records.
///
/// ```
/// use highwater_connectors::Served;
/// use highwater_streams::{Options, Streams};
/// use std::sync::Arc;
/// # let dir = tempfile::tempdir()?;
/// let streams = Arc::new(Streams::open(dir.path().join("streams.d"), Options::new())?);
/// let orders = Served::new(&streams, ["/v1/stream/orders"]).max_records(10_000);
/// # let _ = orders;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Served {
    streams: Arc<Streams>,
    names: Vec<String>,
    max_records: u64,
    messages: Messages,
}

/// What the messages of its streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Messages {
    Json,
    Records,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Served {
    /// The streams with these names: the path, where they are served over HTTP. One that is not
    /// there yet is read from its beginning when it is created.
    #[must_use]
    pub fn new<T: Into<String>>(
        streams: &Arc<Streams>,
        names: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            streams: Arc::clone(streams),
            names: names.into_iter().map(Into::into).collect(),
            max_records: 100_000,
            messages: Messages::Json,
        }
    }

    /// At most so many messages in a batch, over all streams, and at least one of each; 100,000 by
    /// default. A backlog is read in batches that follow each other at once.
    #[must_use]
    pub fn max_records(mut self, records: u64) -> Self {
        self.max_records = records;
        self
    }

    /// With streams of such messages.
    pub(crate) fn of(mut self, messages: Messages) -> Self {
        self.messages = messages;
        self
    }

    /// A page from a position on, as far as it is durable. To read for a batch is no use of a
    /// stream: it lives no longer.
    fn page(&self, name: &str, from: From, limit: usize) -> Result<Result<Page, Refusal>, Error> {
        self.streams.read_on(name, from, limit)?.wait()
    }
}

impl Served {
    /// Whether a stream has such messages.
    fn check(&self, name: &str, content_type: &str) -> Result<(), BoxError> {
        let (is_right, wanted, other) = match self.messages {
            Messages::Json => (is_json(content_type), "application/json", "served_records"),
            Messages::Records => (is_records(content_type), RECORDS, "served"),
        };
        match is_right {
            true => Ok(()),
            false => Err(format!(
                "{name} is a stream of {content_type}: this source reads {wanted}, and `{other}` the other kind of messages"
            )
            .into()),
        }
    }
}

/// The item of a stream: another stream of the same name is another item.
fn item(name: &str, number: u64) -> String {
    format!("{number} {name}")
}

fn stream_of(item: &str) -> Option<(&str, u64)> {
    let (number, name) = item.split_once(' ')?;
    Some((name, number.parse().ok()?))
}

impl Source for Served {
    fn open(&self, _: &OffsetContext) -> Result<(), BoxError> {
        match self.names.is_empty() {
            true => Err("it has no streams".into()),
            false => Ok(()),
        }
    }

    fn advance(&self, source: &OffsetContext, limit: &AdvanceLimit) -> Result<Advance, BoxError> {
        let most = self.max_records.min(limit.records.unwrap_or(u64::MAX));
        let share = (most / self.names.len() as u64).max(1);
        let (mut ranges, mut has_more) = (Vec::new(), false);
        for name in &self.names {
            let stream = match self.page(name, From::End, 1)? {
                Ok(page) => page.stream,
                // Not there yet, or not any more.
                Err(Refusal::NotFound | Refusal::Gone) => continue,
                Err(refusal) => return Err(format!("{name}: {refusal}").into()),
            };
            self.check(name, &stream.content_type)?;
            let item = item(name, stream.number);
            let (start, end) = (stream.start.get(), stream.end.get());
            let position = source.position(&item);
            let mut from = position.unwrap_or(start);
            if from < start {
                return Err(format!(
                    "{name} has given up its messages from {from} to {start} before a batch had them: let it keep more \
                     (Highwater-Retain-*), and give the source another name to go on where it starts now"
                )
                .into());
            }
            if position.is_none() && from == end {
                ranges.push(OffsetRange::new(&item, from, from)); // it begins here
            }
            let to = end.min(from.saturating_add(share));
            has_more |= to < end;
            while from < to {
                let next = to.min(from.saturating_add(PIECE));
                ranges.push(OffsetRange::new(&item, from, next));
                from = next;
            }
        }
        Ok(Advance::new(ranges).has_more(has_more))
    }

    fn read(&self, range: &OffsetRange, emit: &mut dyn FnMut(u64, Bytes)) -> Result<(), ReadError> {
        let gone = |what: String| ReadError::Gone(what.into());
        let Some((name, number)) = stream_of(&range.item) else {
            return Err(gone(format!("{:?} names no stream", range.item)));
        };
        let mut next = range.from;
        while next < range.to {
            let page = self.page(name, From::Position(Position::new(next)), PAGE);
            let page = page.map_err(|error| ReadError::Unavailable(error.into()))?;
            let page = page.map_err(|refusal| gone(format!("{name}: {refusal}")))?;
            if page.stream.number != number || page.lengths.is_empty() {
                return Err(gone(format!(
                    "{name} was deleted, and another stream has its name"
                )));
            }
            for message in page.pieces() {
                if next == range.to {
                    return Ok(());
                }
                emit(
                    next,
                    match self.messages {
                        Messages::Json => Bytes::copy_from_slice(message),
                        Messages::Records => ServedRecord::wrap(name, next, message),
                    },
                );
                next += 1;
            }
        }
        Ok(())
    }
}
