//! PUT, POST and DELETE.

use crate::address;
use crate::answer::{self, EPOCH, LSN, Refusal, Reply, SEQUENCE};
use crate::asked;
use crate::door::Door;
use highwater_http::head::text;
use highwater_streams::{
    Append, NewStream, RecordRef, Source, Then, is_json, is_records, json_messages,
};
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};

pub(crate) async fn put(
    door: &Door,
    name: &str,
    head: &Parts,
    body: Incoming,
) -> Result<Reply, Refusal> {
    let headers = &head.headers;
    let content_type = content_type(headers)?;
    let lifetime = asked::lifetime(headers)?;
    let retention = asked::retention(headers)?;
    let then = asked::then(headers)?;
    let fork = asked::fork(headers)?;
    let body = door.body(body).await?;
    let of_source = match (content_type, fork) {
        (None, Some(fork)) => {
            address::name(fork.source)?;
            let source = door.streams.look(fork.source)?.told().await?;
            source.ok().map(|source| source.content_type)
        }
        _ => None,
    };
    let messages = messages(&body.bytes, content_type.or(of_source.as_deref()))?;
    let new = NewStream {
        content_type,
        lifetime,
        retention,
        messages: &messages,
        then,
        fork: fork.map(|fork| Source {
            name: fork.source,
            offset: fork.offset,
            sub_offset: fork.sub_offset,
        }),
    };
    let created = door.streams.create(name, &new)?.told().await?;
    let created = created.map_err(|refusal| Refusal::from(refusal).of_create())?;
    let mut answer = match created.is_new {
        true => answer::empty(StatusCode::CREATED),
        false => answer::empty(StatusCode::OK),
    };
    let headers = answer.headers_mut();
    answer::describe(headers, &created.stream);
    if created.is_new {
        answer::insert(headers, LOCATION, &format!("{}{name}", door.origin(head)));
    }
    Ok(answer)
}

pub(crate) async fn post(
    door: &Door,
    name: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Reply, Refusal> {
    let content_type = content_type(headers)?;
    let then = asked::then(headers)?;
    let producer = asked::producer(headers)?;
    let stream_sequence = text(headers, "stream-seq")?.map(str::as_bytes);
    let body = door.body(body).await?;
    let is_close_only = body.bytes.is_empty() && then == Then::Closed;
    if body.bytes.is_empty() && !is_close_only {
        return Err(Refusal::bad(
            "there is nothing to append: the body is empty",
        ));
    }
    if !is_close_only && content_type.is_none() {
        return Err(Refusal::bad("a body needs a content-type"));
    }
    let decision = {
        let messages = messages(&body.bytes, content_type)?;
        if messages.is_empty() && !is_close_only {
            return Err(Refusal::bad(
                "there is nothing to append: the array is empty",
            ));
        }
        let request = Append {
            content_type,
            messages: &messages,
            then,
            producer,
            batch: None,
            stream_sequence,
        };
        door.streams.append(name, &request)?
    };
    // It is in the log: the wait for the disk needs no body.
    drop(body);
    let appended = decision.told().await??;
    let is_counted = producer.is_some() && !appended.is_duplicate && !is_close_only;
    let mut answer = match is_counted {
        true => answer::empty(StatusCode::OK),
        false => answer::empty(StatusCode::NO_CONTENT),
    };
    let told = answer.headers_mut();
    answer::next_offset(told, appended.end);
    if appended.is_closed {
        told.insert(answer::CLOSED, answer::TRUE);
    }
    if let (Some(producer), Some(sequence)) = (producer, appended.sequence) {
        answer::insert(told, EPOCH, &producer.epoch);
        answer::insert(told, SEQUENCE, &sequence);
    }
    answer::insert(told, LSN, &appended.lsn);
    Ok(answer)
}

pub(crate) async fn delete(door: &Door, name: &str) -> Result<Reply, Refusal> {
    door.streams.delete(name)?.told().await??;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let content_type = text(headers, "content-type")?;
    Ok(content_type.filter(|content_type| !content_type.trim().is_empty()))
}

/// The messages of a body: those of JSON, records, or the body.
fn messages<'b>(body: &'b [u8], content_type: Option<&str>) -> Result<Vec<&'b [u8]>, Refusal> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    if content_type.is_some_and(is_json) {
        return json_messages(body).map_err(|error| Refusal::bad(error.to_string()));
    }
    if content_type.is_some_and(is_records) {
        let records = RecordRef::split(body);
        return records.ok_or_else(|| {
            Refusal::bad("the body has no records: docs/format/streams.md says what they are")
        });
    }
    Ok(vec![body])
}
