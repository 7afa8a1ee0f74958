//! GET and HEAD.

use crate::address::{Live, Query};
use crate::answer::{self, CLOSED, CURSOR, NO_STORE, Refusal, Reply, TRUE, UP_TO_DATE};
use crate::beside::beside;
use crate::cursor;
use crate::door::Door;
use crate::event::{self, Encoding};
use crate::feed::Feed;
use highwater_streams::{From, Page};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH};
use hyper::{HeaderMap, StatusCode};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};

/// A cache may keep what does not change.
const KEPT: HeaderValue =
    HeaderValue::from_static("public, max-age=60, stale-while-revalidate=300");
const ENCODING: HeaderName = HeaderName::from_static("stream-sse-data-encoding");

pub(crate) async fn head(door: &Door, name: &str) -> Result<Reply, Refusal> {
    let stream = door.streams.look(name)?.told().await??;
    let mut answer = answer::empty(StatusCode::OK);
    let headers = answer.headers_mut();
    answer::describe(headers, &stream);
    headers.insert(CACHE_CONTROL, NO_STORE);
    Ok(answer)
}

pub(crate) async fn get(
    door: &Door,
    name: &str,
    query: Query,
    asked: &HeaderMap,
) -> Result<Reply, Refusal> {
    let from = query.offset.unwrap_or(From::Start);
    match query.live {
        Live::No => {
            let read = || door.streams.read(name, from, door.options.page_bytes);
            let page = beside(read)?.told().await??;
            Ok(catch_up(&page, from, asked))
        }
        Live::LongPoll => long_poll(door, name, from, query.cursor).await,
        Live::Events => events(door, name, from, query.cursor).await,
    }
}

/// What a page says in its headers.
fn say(headers: &mut HeaderMap, page: &Page) {
    answer::insert(headers, CONTENT_TYPE, &page.stream.content_type);
    answer::next_offset(headers, page.next);
    if page.is_up_to_date {
        headers.insert(UP_TO_DATE, TRUE);
        if page.stream.is_closed {
            headers.insert(CLOSED, TRUE);
        }
    }
}

fn body(page: &Page) -> Vec<u8> {
    match page.stream.is_json {
        true => event::array(page),
        false => page.data.clone(),
    }
}

fn catch_up(page: &Page, from: From, asked: &HeaderMap) -> Reply {
    if from == From::End {
        let mut answer = answer::whole(StatusCode::OK, body(page).into());
        say(answer.headers_mut(), page);
        answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        return answer;
    }
    let tag = tag(page);
    let mut answer = match is_known(asked, &tag) {
        true => answer::empty(StatusCode::NOT_MODIFIED),
        false => answer::whole(StatusCode::OK, body(page).into()),
    };
    let headers = answer.headers_mut();
    say(headers, page);
    answer::insert(headers, ETAG, &tag);
    headers.insert(CACHE_CONTROL, KEPT);
    answer
}

/// Another stream of the name, more data, and a close have another one.
fn tag(page: &Page) -> String {
    let closed = if page.is_up_to_date && page.stream.is_closed {
        ":c"
    } else {
        ""
    };
    format!(
        "\"{}:{}:{}{closed}\"",
        page.stream.number,
        page.from.get(),
        page.next.get()
    )
}

fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let all = asked.get_all(IF_NONE_MATCH).iter();
    let texts = all.filter_map(|value| value.to_str().ok());
    let mut tags = texts.flat_map(|text| text.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// A place among those that wait.
fn place(door: &Door) -> Result<OwnedSemaphorePermit, Refusal> {
    let place = Arc::clone(&door.live).try_acquire_owned();
    place.map_err(|_| Refusal::busy("too many clients wait for streams"))
}

async fn long_poll(
    door: &Door,
    name: &str,
    from: From,
    client: Option<u64>,
) -> Result<Reply, Refusal> {
    let until = Instant::now() + door.options.long_poll;
    let limit = door.options.page_bytes;
    let read = || door.streams.read(name, from, limit);
    let mut page = beside(read)?.told().await??;
    let number = page.stream.number;
    if page.data.is_empty() && page.is_up_to_date && !page.stream.is_closed {
        let _place = place(door)?;
        let mut stopped = door.stopped.clone();
        let from = page.next;
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return Err(Refusal::stopped()),
            _ = timeout_at(until, door.streams.changed(number, from)) => {}
        }
        let read = || door.streams.read_on(name, From::Position(from), limit);
        page = beside(read)?.told().await??;
        if page.stream.number != number {
            return Err(Refusal::not_found(
                "the stream was deleted, and there is a new one",
            ));
        }
    }
    let has_data = !page.data.is_empty();
    let mut answer = match has_data {
        true => answer::whole(StatusCode::OK, body(&page).into()),
        false => answer::empty(StatusCode::NO_CONTENT),
    };
    let headers = answer.headers_mut();
    say(headers, &page);
    if !has_data {
        headers.remove(CONTENT_TYPE);
    }
    let cursor = cursor::next(door.streams.wall_ms(), client);
    answer::insert(headers, CURSOR, &cursor);
    headers.insert(CACHE_CONTROL, NO_STORE);
    Ok(answer)
}

async fn events(
    door: &Door,
    name: &str,
    from: From,
    client: Option<u64>,
) -> Result<Reply, Refusal> {
    let limit = door.options.event_bytes;
    let read = || door.streams.read(name, from, limit);
    let first = beside(read)?.told().await??;
    let place = place(door)?;
    let (events, told) = mpsc::channel(1);
    let mut answer = answer::feed(told);
    let encoding = Encoding::of(&first.stream.content_type);
    if encoding == Encoding::Base64 {
        answer
            .headers_mut()
            .insert(ENCODING, HeaderValue::from_static("base64"));
    }
    let feed = Feed {
        streams: Arc::clone(&door.streams),
        name: name.to_owned(),
        encoding,
        cursor: client,
        page_bytes: limit,
        until: Instant::now() + door.options.events_for,
        events,
        stopped: door.stopped.clone(),
        place,
    };
    tokio::spawn(feed.run(first));
    Ok(answer)
}
