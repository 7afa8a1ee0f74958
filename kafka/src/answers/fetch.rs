//! Reading.

use crate::answers::answer::{Answer, Reply};
use crate::answers::messages::batch_of;
use crate::answers::offsets::offset;
use crate::answers::told;
use crate::door::Door;
use crate::messages::fetch::{self, Partition, Request, Told};
use crate::wire::error::Code;
use crate::wire::header::{Head, Offer};
use highwater_streams::{Changed, Error, From, Page, Position, Refusal};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// One answer has no more, but for one message that is longer.
const MAX_BYTES: usize = 8 << 20;
/// An answer is given after so long, whatever the client says.
const MAX_WAIT: Duration = Duration::from_mins(1);

pub(crate) fn answer(door: &Arc<Door>, (head, offer): (Head, Offer), request: Request) -> Answer {
    let door = Arc::clone(door);
    Box::pin(async move {
        let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let until = Instant::now() + millis(request.max_wait_ms).min(MAX_WAIT);
        let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
        let most = most(request.max_bytes).min(MAX_BYTES);
        let mut is_first_look = true;
        loop {
            let room = door.answers.room(most).await;
            let read = tokio::task::block_in_place(|| read(&door, &request, most, is_first_look));
            is_first_look = false;
            let is_enough = read.bytes >= min_bytes || read.code != Code::None;
            if is_enough || Instant::now() >= until || *door.stopped.borrow() {
                let mut writer = head.answer(&offer);
                fetch::write(&mut writer, head.version, &read.topics);
                let reply = Reply::new(writer.finish(), read.code);
                return Reply {
                    _room: room,
                    ..reply
                };
            }
            drop(room);
            let mut waits = read.waits(&door);
            tokio::select! {
                biased;
                () = door.is_stopped() => {}
                _ = timeout_at(until, any(&mut waits)) => {}
            }
        }
    })
}

fn most(max_bytes: i32) -> usize {
    usize::try_from(max_bytes).unwrap_or(0)
}

/// Ready once one of them is.
async fn any(waits: &mut [Changed]) {
    poll_fn(|cx| {
        let mut is_ready = false;
        for wait in &mut *waits {
            is_ready |= Pin::new(wait).poll(cx).is_ready();
        }
        match is_ready {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// What was read of all partitions.
struct Read {
    topics: Vec<(String, Vec<Told>)>,
    bytes: usize,
    /// Nothing more fits.
    is_full: bool,
    /// The highest of all partitions.
    code: Code,
    /// Streams, and where they ended.
    ends: Vec<(u64, Position)>,
}

impl Read {
    fn waits(&self, door: &Door) -> Vec<Changed> {
        let wait = |(number, end): &(u64, Position)| door.streams.changed(*number, *end);
        self.ends.iter().map(wait).collect()
    }
}

fn read(door: &Door, request: &Request, most_bytes: usize, is_first_look: bool) -> Read {
    let mut all = Read {
        topics: Vec::new(),
        bytes: 0,
        is_full: false,
        code: Code::None,
        ends: Vec::new(),
    };
    for (topic, partitions) in &request.topics {
        let mut told = Vec::new();
        for partition in partitions {
            let left = most_bytes.saturating_sub(all.bytes);
            let is_first = all.bytes == 0;
            all.is_full |= !is_first && left == 0;
            let limit = (!all.is_full).then(|| left.min(most(partition.max_bytes)));
            let found = read_partition(door, topic, partition, limit, is_first_look);
            let found = found.unwrap_or_else(|error| Err(told::failed(&error, "reading")));
            told.push(match found {
                Ok(mut found) => {
                    // The first message comes whatever its length: a client could not go on
                    // without it. One of another partition that is too long comes next time.
                    if !is_first && limit.is_some_and(|limit| found.bytes > limit) {
                        found.batch.clear();
                    }
                    all.bytes += found.batch.len();
                    all.ends.push((found.number, found.end));
                    Told {
                        index: partition.index,
                        code: Code::None,
                        end: offset(found.end.get()),
                        start: offset(found.start.get()),
                        batch: found.batch,
                    }
                }
                Err(code) => {
                    all.code = all.code.max(code);
                    Told {
                        index: partition.index,
                        code,
                        end: -1,
                        start: -1,
                        batch: Vec::new(),
                    }
                }
            });
        }
        all.topics.push((topic.clone(), told));
    }
    all
}

/// What was read of a partition.
struct Found {
    number: u64,
    start: Position,
    end: Position,
    /// Of messages.
    bytes: usize,
    batch: Vec<u8>,
}

/// Reads a partition: without a limit, only where it starts and ends.
fn read_partition(
    door: &Door,
    topic: &str,
    partition: &Partition,
    limit: Option<usize>,
    is_first_look: bool,
) -> Result<Result<Found, Code>, Error> {
    let Some(stream) = door.topics.stream_of(topic, partition.index) else {
        return Ok(Err(Code::UnknownTopicOrPartition));
    };
    let Ok(position) = u64::try_from(partition.offset) else {
        return Ok(Err(Code::OffsetOutOfRange));
    };
    let from = match limit {
        Some(_) => From::Position(Position::new(position)),
        None => From::End,
    };
    let limit = limit.unwrap_or(1);
    let page = match is_first_look {
        true => door.streams.read(&stream, from, limit),
        false => door.streams.read_on(&stream, from, limit),
    };
    Ok(match page?.wait()? {
        Ok(page) if !page.stream.counts_messages => Err(Code::InvalidTopic),
        Ok(page) => found(&page, &stream),
        // Only what is durable is seen. A client that is ahead of it has read what a crash took.
        Err(refusal @ (Refusal::BeyondEnd { .. } | Refusal::Truncated { .. })) => {
            tracing::debug!(topic, partition.offset, %refusal, "a fetch is out of range");
            Err(Code::OffsetOutOfRange)
        }
        Err(refusal) => Err(told::code_of(&refusal)),
    })
}

fn found(page: &Page, stream: &str) -> Result<Found, Code> {
    let Some(batch) = batch_of(page) else {
        let from = page.from.get();
        tracing::error!(
            stream,
            from,
            "a message of a stream of records is no record"
        );
        return Err(Code::CorruptMessage);
    };
    Ok(Found {
        number: page.stream.number,
        start: page.stream.start,
        end: page.stream.end,
        bytes: page.data.len(),
        batch,
    })
}
