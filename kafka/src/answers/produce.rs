//! Appending batches.
//!
//! Batches of a connection are appended in the order in which they come, each as one frame: after a
//! crash all of a batch is there, or none. What is answered is durable.

use crate::answers::answer::{Answer, Reply, Then};
use crate::answers::messages::Messages;
use crate::answers::offsets::offset;
use crate::answers::told;
use crate::batch::read::Batch;
use crate::batch::refused::Refused;
use crate::door::Door;
use crate::messages::produce::{self, Partition, Request, Told};
use crate::wire::error::Code;
use crate::wire::header::{Head, Offer};
use highwater_streams::{Append, Appended, Batch as Numbered, Decision, Error, RECORDS};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How often a full log is looked at again while a request waits for room.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The records of all batches of a request have no more bytes, decompressed.
const MAX_RECORDS: usize = 64 << 20;
/// A request waits no longer, whatever its client says.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// What came of a partition so far.
enum Step {
    Told(Told),
    /// To be waited for.
    Appended(i32, Decision<Appended>),
}

/// A request that was begun.
pub(crate) struct Begun {
    pub(crate) answer: Answer,
    /// Whether the next request of the connection is to be looked at.
    pub(crate) then: Then,
}

/// Appends all of a request. While the log is full it waits, as long as the client does: the
/// connection is not read on meanwhile.
pub(crate) async fn begin(
    door: &Arc<Door>,
    (head, offer): (Head, Offer),
    request: Request<'_>,
) -> Begun {
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let until = Instant::now() + patience.min(MAX_WAIT);
    let mut topics = Vec::new();
    let mut then = Then::GoOn;
    let mut left = MAX_RECORDS;
    for (topic, partitions) in &request.topics {
        let mut steps = Vec::new();
        for partition in partitions {
            let step = match refusal_of(&request) {
                Some(refused) => refuse(partition, refused),
                None => append(door, topic, partition, &mut left, until).await,
            };
            if let Step::Told(told) = &step
                && is_to_be_sent_again(told.code)
            {
                then = Then::Close;
            }
            steps.push(step);
        }
        topics.push(((*topic).to_owned(), steps));
    }
    let is_answered = request.acks != 0;
    let answer: Answer = Box::pin(async move {
        let mut all = Vec::new();
        for (topic, steps) in topics {
            let mut partitions = Vec::new();
            for step in steps {
                partitions.push(tell(step).await);
            }
            all.push((topic, partitions));
        }
        reply(head, &offer, &all, is_answered)
    });
    Begun { answer, then }
}

/// Whether a client sends again what is refused with this code.
fn is_to_be_sent_again(code: Code) -> bool {
    matches!(code, Code::RequestTimedOut | Code::KafkaStorageError)
}

fn reply(head: Head, offer: &Offer, all: &[(String, Vec<Told>)], is_answered: bool) -> Reply {
    let told = || all.iter().flat_map(|(_, partitions)| partitions);
    let code = told().map(|told| told.code).max().unwrap_or(Code::None);
    let ends = match is_answered {
        true => told().any(|told| is_to_be_sent_again(told.code)),
        // A client that wants no answer learns by this alone that something is wrong.
        false => code != Code::None,
    };
    let bytes = match is_answered {
        true => {
            let mut writer = head.answer(offer);
            produce::write(&mut writer, head.version, all);
            writer.finish()
        }
        false => Vec::new(),
    };
    Reply {
        then: if ends { Then::Close } else { Then::GoOn },
        ..Reply::new(bytes, code)
    }
}

/// Why nothing of a request is appended.
fn refusal_of(request: &Request<'_>) -> Option<Refused> {
    if request.transaction.is_some() {
        let reason = "Highwater has no transactions: use an idempotent producer";
        let code = Code::TransactionalIdAuthorizationFailed;
        return Some(Refused::new(code, reason));
    }
    match request.acks {
        -1..=1 => None,
        acks => Some(Refused::new(
            Code::InvalidRequiredAcks,
            format!("acks may be 0, 1 or -1, and not {acks}"),
        )),
    }
}

fn refuse(partition: &Partition<'_>, refused: Refused) -> Step {
    Step::Told(Told::refused(partition.index, refused.code, refused.reason))
}

/// A batch that was read, for a stream.
struct Prepared {
    stream: String,
    content_type: Arc<str>,
    producer: Option<Numbered>,
    messages: Messages,
}

/// Reads the batch of a partition. The records of all batches of a request have `left` bytes: a few
/// bytes may stand for many, and there may be many of those.
fn prepare(
    door: &Door,
    topic: &str,
    partition: &Partition<'_>,
    left: &mut usize,
) -> Result<Prepared, Refused> {
    let Some(stream) = door.topics.stream_of(topic, partition.index) else {
        let reason = format!("there is no partition {} of {topic:?}", partition.index);
        return Err(Refused::new(Code::UnknownTopicOrPartition, reason));
    };
    let hint = door.streams.content_type_hint(&stream);
    let content_type = hint.unwrap_or_else(|| Arc::from(RECORDS));
    if !crate::topics::has_messages(&content_type) {
        let reason = format!("{topic:?} is a stream of {content_type}, which has no messages");
        return Err(Refused::new(Code::InvalidTopic, reason));
    }
    let max = door.streams.max_body_bytes();
    let batch = Batch::read(partition.batch, max.min(*left))?;
    *left = left.saturating_sub(batch.record_bytes());
    Ok(Prepared {
        producer: batch.producer,
        messages: Messages::of(&batch, &content_type)?,
        stream,
        content_type,
    })
}

/// Appends a batch, once there is room for it.
async fn append(
    door: &Door,
    topic: &str,
    partition: &Partition<'_>,
    left: &mut usize,
    until: Instant,
) -> Step {
    let prepared = match prepare(door, topic, partition, left) {
        Ok(prepared) => prepared,
        Err(refused) => return refuse(partition, refused),
    };
    loop {
        let error = match append_now(door, &prepared) {
            Ok(decision) => return Step::Appended(partition.index, decision),
            Err(error) => error,
        };
        let now = Instant::now();
        let is_over = now >= until || *door.stopped.borrow();
        if !error.is_log_full() || is_over {
            let code = match error.is_log_full() {
                true => Code::RequestTimedOut,
                false => told::failed(&error, "appending"),
            };
            return refuse(partition, Refused::new(code, error.to_string()));
        }
        sleep_until((now + LOOK_AGAIN).min(until)).await;
    }
}

fn append_now(door: &Door, prepared: &Prepared) -> Result<Decision<Appended>, Error> {
    let request = Append {
        content_type: Some(&prepared.content_type),
        messages: &prepared.messages.each(),
        batch: prepared.producer,
        ..Append::default()
    };
    door.streams.append(&prepared.stream, &request)
}

async fn tell(step: Step) -> Told {
    let (index, decision) = match step {
        Step::Told(told) => return told,
        Step::Appended(index, decision) => (index, decision),
    };
    match decision.told().await {
        Ok(Ok(appended)) => Told {
            index,
            code: Code::None,
            base_offset: appended.first.map_or(-1, |first| offset(first.get())),
            message: None,
        },
        Ok(Err(refusal)) => Told::refused(index, told::code_of(&refusal), refusal.to_string()),
        Err(error) => {
            let code = told::failed(&error, "making durable");
            Told::refused(index, code, error.to_string())
        }
    }
}
