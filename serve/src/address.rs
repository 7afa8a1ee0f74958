//! What a request asks, by its path and query.

use crate::answer::Refusal;
use highwater_streams::{From, Position};

/// A part of a path that is kept for what is not offered here.
const RESERVED: &str = "__ds";

/// How a stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Live {
    No,
    LongPoll,
    Events,
}

/// What a GET asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Query {
    /// `None` is the start, too; a live read must say it.
    pub(crate) offset: Option<From>,
    pub(crate) live: Live,
    pub(crate) cursor: Option<u64>,
}

/// The name of the stream at a path: the path.
///
/// # Errors
/// 404 for paths that are kept for subscriptions.
pub(crate) fn name(path: &str) -> Result<&str, Refusal> {
    if path.split('/').any(|part| part == RESERVED) {
        let reason = "paths with __ds are kept for subscriptions, which this server does not offer";
        return Err(Refusal::not_found(reason));
    }
    if path.len() < 2 {
        return Err(Refusal::not_found(
            "a stream has a path of its own: /v1/stream/NAME",
        ));
    }
    Ok(path)
}

/// # Errors
/// 400 for an offset that no server has given, one that is empty, or several; an unknown `live`.
/// Parameters that are not known are passed over: a client may add some to get by caches.
pub(crate) fn query(query: Option<&str>) -> Result<Query, Refusal> {
    let mut asked = Query {
        offset: None,
        live: Live::No,
        cursor: None,
    };
    let mut has_live = false;
    for pair in query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "offset" if asked.offset.is_some() => {
                return Err(Refusal::bad("offset must be there once"));
            }
            "offset" => asked.offset = Some(offset(value)?),
            "live" if has_live => return Err(Refusal::bad("live must be there once")),
            "live" => {
                has_live = true;
                asked.live = match value {
                    "long-poll" => Live::LongPoll,
                    "sse" => Live::Events,
                    _ => return Err(Refusal::bad("live must be long-poll or sse")),
                };
            }
            // One that is no number is none of ours: then the answer has the present one.
            "cursor" => asked.cursor = value.parse().ok(),
            _ => {}
        }
    }
    if asked.live != Live::No && asked.offset.is_none() {
        return Err(Refusal::bad("a live read must say where it begins: offset"));
    }
    Ok(asked)
}

fn offset(text: &str) -> Result<From, Refusal> {
    match text {
        "-1" => Ok(From::Start),
        "now" => Ok(From::End),
        _ => match text.parse::<Position>() {
            Ok(position) => Ok(From::Position(position)),
            Err(error) => Err(Refusal::bad(format!("offset: {error}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_asked_is_read() {
        let seven = "offset=0000000000000000_0000000000000007";
        let asked = query(Some(&format!("x=1&{seven}&live=sse&cursor=12&offsets=3"))).unwrap();
        assert_eq!(asked.offset, Some(From::Position(Position::new(7))));
        assert_eq!((asked.live, asked.cursor), (Live::Events, Some(12)));
        assert_eq!(query(None).unwrap().offset, None);
        assert_eq!(query(Some("offset=-1")).unwrap().offset, Some(From::Start));
        for bad in [
            "offset=",
            "offset",
            "offset=now&offset=now",
            "offset=0",
            "live=sse",
            "offset=-1&live=",
            "live=x&offset=now",
        ] {
            query(Some(bad)).unwrap_err();
        }
        assert_eq!(name("/v1/stream/a").unwrap(), "/v1/stream/a");
        for bad in ["/", "/__ds/x", "/v1/stream/__ds/subscriptions/a"] {
            name(bad).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(text in "[a-z0-9=&_%+-]*") {
            let _ = query(Some(&text));
        }
    }
}
