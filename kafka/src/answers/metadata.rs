//! Topics.

use crate::answers::answer::{Answer, Reply};
use crate::answers::told;
use crate::door::Door;
use crate::messages::metadata::{self, Request, Topic};
use crate::topics::{Looked, is_name};
use crate::wire::error::Code;
use crate::wire::header::{Head, Offer};
use highwater_streams::Error;
use std::sync::Arc;

/// Topics that are listed for a client that asks for all.
const MAX_LISTED: usize = 10_000;

/// Where a client is told to connect to.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    pub(crate) host: String,
    pub(crate) port: u16,
}

pub(crate) fn answer(
    door: &Arc<Door>,
    reached: &Reached,
    (head, offer): (Head, Offer),
    request: Request,
) -> Answer {
    let (door, reached) = (Arc::clone(door), reached.clone());
    Box::pin(async move {
        let may_create = request.may_create && door.options.auto_create;
        let (names, may_create) = match request.topics {
            Some(names) => (names, may_create),
            None => (all(&door), false),
        };
        let (mut topics, mut code) = (Vec::new(), Code::None);
        for name in names {
            let looked = look(&door, &name, may_create).await;
            let looked = looked.unwrap_or_else(|error| Err(told::failed(&error, "looking")));
            let (topic_code, partitions) = match looked {
                Ok(partitions) => (Code::None, partitions),
                Err(code) => (code, 0),
            };
            code = code.max(topic_code);
            topics.push(Topic {
                code: topic_code,
                name,
                partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
            });
        }
        let mut writer = head.answer(&offer);
        let answer = metadata::Answer {
            host: &reached.host,
            port: reached.port,
            cluster: &door.cluster,
            topics,
        };
        metadata::write(&mut writer, head.version, &answer);
        Reply::new(writer.finish(), code)
    })
}

/// All topics. Streams of bytes are none.
fn all(door: &Door) -> Vec<String> {
    let streams = &door.streams;
    let names = tokio::task::block_in_place(|| streams.names(&door.topics.prefix, MAX_LISTED));
    if names.len() == MAX_LISTED {
        tracing::warn!(
            most = MAX_LISTED,
            "a Kafka client that asked for all topics is told of the first ones: clients should name theirs"
        );
    }
    let has_messages = |name: &&String| {
        let hint = streams.content_type_hint(name);
        hint.is_some_and(|hint| crate::topics::has_messages(&hint))
    };
    let topics = names.iter().filter(has_messages);
    let topics = topics.filter_map(|name| door.topics.topic_of(name));
    topics.map(str::to_owned).collect()
}

async fn look(door: &Door, name: &str, may_create: bool) -> Result<Result<u32, Code>, Error> {
    if !is_name(name) {
        return Ok(Err(Code::InvalidTopic));
    }
    match door.topics.look(name).await? {
        Looked::Partitions(count) => Ok(Ok(count)),
        Looked::Bytes => {
            tracing::warn!(
                topic = name,
                "a Kafka client asks for a stream of bytes: topics have records, or JSON messages"
            );
            Ok(Err(Code::InvalidTopic))
        }
        Looked::Absent if may_create => match door.topics.create(name, 1).await? {
            Ok(()) => Ok(Ok(1)),
            Err(refusal) => {
                tracing::warn!(topic = name, %refusal, "a topic is not created");
                Ok(Err(told::code_of(&refusal)))
            }
        },
        Looked::Absent => Ok(Err(Code::UnknownTopicOrPartition)),
    }
}
