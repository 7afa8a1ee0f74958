//! Offsets by time.

use crate::answers::answer::{Answer, Reply};
use crate::answers::told;
use crate::door::Door;
use crate::messages::offsets::{self, Request, Time, Told};
use crate::wire::error::Code;
use crate::wire::header::{Head, Offer};
use highwater_streams::{From, Refusal};
use std::sync::Arc;

/// Offsets are less than 2^63.
pub(crate) fn offset(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

pub(crate) fn answer(door: &Arc<Door>, (head, offer): (Head, Offer), request: Request) -> Answer {
    let door = Arc::clone(door);
    Box::pin(async move {
        let (mut topics, mut code) = (Vec::new(), Code::None);
        for (name, partitions) in request {
            let mut all = Vec::new();
            for (index, time) in partitions {
                let found = find(&door, &name, index, time).await;
                let (found_code, timestamp, offset) = match found {
                    Ok((timestamp, offset)) => (Code::None, timestamp, offset),
                    Err(code) => (code, -1, -1),
                };
                code = code.max(found_code);
                all.push(Told {
                    index,
                    code: found_code,
                    timestamp,
                    offset,
                });
            }
            topics.push((name, all));
        }
        let mut writer = head.answer(&offer);
        offsets::write(&mut writer, head.version, &topics);
        Reply::new(writer.finish(), code)
    })
}

/// A time and an offset.
async fn find(door: &Door, topic: &str, index: i32, time: Time) -> Result<(i64, i64), Code> {
    let stream = door.topics.stream_of(topic, index);
    let stream = stream.ok_or(Code::UnknownTopicOrPartition)?;
    let streams = &door.streams;
    let read = |from, limit| {
        let page = tokio::task::block_in_place(|| streams.read_on(&stream, from, limit));
        async move {
            let page = page.map_err(|error| told::failed(&error, "reading"))?;
            let page = page.told().await;
            page.map_err(|error| told::failed(&error, "reading"))
        }
    };
    let end = read(From::End, 1).await?.map_err(|r| told::code_of(&r))?;
    if !end.stream.counts_messages {
        return Err(Code::InvalidTopic);
    }
    let wall_ms = match time {
        Time::Latest => return Ok((-1, offset(end.stream.end.get()))),
        Time::Earliest => return Ok((-1, offset(end.stream.start.get()))),
        Time::Unknown => return Err(Code::InvalidRequest),
        Time::At(wall_ms) => wall_ms,
    };
    let found = tokio::task::block_in_place(|| streams.position_at(&stream, wall_ms));
    let found = found.map_err(|error| told::failed(&error, "looking"))?;
    let found = found.told().await;
    let found = found.map_err(|error| told::failed(&error, "looking"))?;
    let position = found.map_err(|refusal| told::code_of(&refusal))?;
    // What it was received at; nothing, if nothing came since then.
    match read(From::Position(position), 1).await? {
        Ok(page) => Ok(match page.received_ms.first() {
            Some(ms) => (offset(*ms), offset(position.get())),
            None => (-1, -1),
        }),
        // It was given up just now: what is left begins later.
        Err(Refusal::Truncated { start }) => Ok((offset(wall_ms), offset(start.get()))),
        Err(refusal) => Err(told::code_of(&refusal)),
    }
}
