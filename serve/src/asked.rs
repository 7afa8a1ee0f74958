//! What a request asks, by its headers.

use crate::answer::Refusal;
use crate::time;
use highwater_http::head::text;
use highwater_streams::{Lifetime, Position, Producer, Retention, Then};
use hyper::HeaderMap;

/// No number of a producer is larger: JavaScript has no larger ones.
const MOST: u64 = (1 << 53) - 1;

/// A fork, as PUT asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ForkAsked<'a> {
    pub(crate) source: &'a str,
    pub(crate) offset: Option<Position>,
    pub(crate) sub_offset: u64,
}

/// A number without a sign, zeros before it, or anything else that other parsers would take.
fn number(name: &str, text: &str, most: u64) -> Result<u64, Refusal> {
    let sound = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    let parsed = sound.then(|| text.parse::<u64>().ok()).flatten();
    parsed.filter(|number| *number <= most).ok_or_else(|| {
        Refusal::bad(format!(
            "{name} must be a whole number up to {most}, without a sign and zeros before it"
        ))
    })
}

fn number_of(headers: &HeaderMap, name: &'static str, most: u64) -> Result<Option<u64>, Refusal> {
    let said = text(headers, name)?;
    said.map(|said| number(name, said, most)).transpose()
}

/// Whether the stream is to be closed.
pub(crate) fn then(headers: &HeaderMap) -> Result<Then, Refusal> {
    let closed = text(headers, "stream-closed")?;
    Ok(
        match closed.is_some_and(|closed| closed.eq_ignore_ascii_case("true")) {
            true => Then::Closed,
            false => Then::Open,
        },
    )
}

/// # Errors
/// 400 for both ways at once, and for a text that is none.
pub(crate) fn lifetime(headers: &HeaderMap) -> Result<Option<Lifetime>, Refusal> {
    let seconds = number_of(headers, "stream-ttl", u64::MAX / 1000)?;
    let until = text(headers, "stream-expires-at")?;
    match (seconds, until) {
        (None, None) => Ok(None),
        (Some(seconds), None) => Ok(Some(Lifetime::IdleSeconds(seconds))),
        (None, Some(text)) => {
            let at_ms = time::parse(text).ok_or_else(|| {
                Refusal::bad(
                    "stream-expires-at must be a time as in RFC 3339: 2030-01-01T00:00:00Z",
                )
            })?;
            let text = text.to_owned();
            Ok(Some(Lifetime::Until { at_ms, text }))
        }
        (Some(_), Some(_)) => Err(Refusal::bad(
            "either stream-ttl or stream-expires-at, not both",
        )),
    }
}

/// How much is to be kept: `Highwater-Retain-*`, which the protocol does not know.
pub(crate) fn retention(headers: &HeaderMap) -> Result<Option<Retention>, Refusal> {
    let seconds = number_of(headers, "highwater-retain-seconds", u64::MAX / 1000)?;
    let retention = Retention {
        bytes: number_of(headers, "highwater-retain-bytes", u64::MAX)?,
        age_ms: seconds.map(|seconds| seconds * 1000),
        positions: number_of(headers, "highwater-retain-positions", u64::MAX)?,
    };
    Ok((!retention.is_unbounded()).then_some(retention))
}

/// # Errors
/// 400 unless all three headers are there, or none.
pub(crate) fn producer(headers: &HeaderMap) -> Result<Option<Producer<'_>>, Refusal> {
    let id = text(headers, "producer-id")?;
    let epoch = number_of(headers, "producer-epoch", MOST)?;
    let sequence = number_of(headers, "producer-seq", MOST)?;
    match (id, epoch, sequence) {
        (None, None, None) => Ok(None),
        (Some(id), Some(epoch), Some(sequence)) if !id.is_empty() => Ok(Some(Producer {
            id,
            epoch,
            sequence,
        })),
        _ => Err(Refusal::bad(
            "producer-id, producer-epoch and producer-seq come together, and none is empty",
        )),
    }
}

pub(crate) fn fork(headers: &HeaderMap) -> Result<Option<ForkAsked<'_>>, Refusal> {
    let source = text(headers, "stream-forked-from")?;
    let offset = text(headers, "stream-fork-offset")?;
    let sub_offset = number_of(headers, "stream-fork-sub-offset", u64::MAX)?;
    let Some(source) = source else {
        return match offset.is_some() || sub_offset.is_some() {
            true => Err(Refusal::bad(
                "a fork says what it is forked from: stream-forked-from",
            )),
            false => Ok(None),
        };
    };
    if !source.starts_with('/') {
        return Err(Refusal::bad(
            "stream-forked-from must be the path of a stream",
        ));
    }
    let offset = offset.map(str::parse::<Position>).transpose();
    Ok(Some(ForkAsked {
        source,
        offset: offset.map_err(|error| Refusal::bad(format!("stream-fork-offset: {error}")))?,
        sub_offset: sub_offset.unwrap_or(0),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let value = |value: &str| HeaderValue::from_str(value).unwrap();
        let all = all
            .iter()
            .map(|(name, text)| (HeaderName::from_static(name), value(text)));
        all.collect()
    }

    #[test]
    fn times_to_live_are_numbers_or_times() {
        let ttl = |text| lifetime(&headers(&[("stream-ttl", text)]));
        assert_eq!(ttl("60").unwrap(), Some(Lifetime::IdleSeconds(60)));
        assert_eq!(ttl("0").unwrap(), Some(Lifetime::IdleSeconds(0)));
        for bad in [
            "-1",
            "+1",
            "01",
            "1.5",
            "1e3",
            "",
            "x",
            "99999999999999999999",
            " 1",
        ] {
            ttl(bad).unwrap_err();
        }
        let until = |text| lifetime(&headers(&[("stream-expires-at", text)]));
        assert!(until("2030-01-01T00:00:00+02:00").unwrap().is_some());
        until("soon").unwrap_err();
        let both = headers(&[
            ("stream-ttl", "1"),
            ("stream-expires-at", "2030-01-01T00:00:00Z"),
        ]);
        lifetime(&both).unwrap_err();
    }

    #[test]
    fn producers_say_all_or_nothing() {
        let all = [
            ("producer-id", "a"),
            ("producer-epoch", "0"),
            ("producer-seq", "9007199254740991"),
        ];
        let sequence = MOST;
        let expected = Producer {
            id: "a",
            epoch: 0,
            sequence,
        };
        assert_eq!(producer(&headers(&all)).unwrap(), Some(expected));
        for left in 0..3 {
            let mut some = all.to_vec();
            some.remove(left);
            producer(&headers(&some)).unwrap_err();
        }
        for bad in [
            ("producer-id", ""),
            ("producer-epoch", "1abc"),
            ("producer-seq", "9007199254740992"),
        ] {
            let changed: Vec<_> = all
                .iter()
                .map(|one| if one.0 == bad.0 { bad } else { *one })
                .collect();
            producer(&headers(&changed)).unwrap_err();
        }
    }

    #[test]
    fn a_fork_names_its_source() {
        let offset = ("stream-fork-offset", "0000000000000000_0000000000000007");
        let source = ("stream-forked-from", "/a");
        let said = headers(&[source, offset, ("stream-fork-sub-offset", "2")]);
        let asked = fork(&said).unwrap();
        let expected = ForkAsked {
            source: "/a",
            offset: Some(Position::new(7)),
            sub_offset: 2,
        };
        assert_eq!(asked, Some(expected));
        fork(&headers(&[offset])).unwrap_err();
        fork(&headers(&[("stream-fork-sub-offset", "0")])).unwrap_err();
        fork(&headers(&[("stream-forked-from", "a")])).unwrap_err();
        fork(&headers(&[source, ("stream-fork-offset", "7")])).unwrap_err();
    }

    proptest! {
        #[test]
        fn any_headers_are_read_or_refused(text in "[ -~]{0,40}") {
            for name in ["stream-ttl", "stream-expires-at", "producer-seq", "stream-fork-offset", "highwater-retain-bytes"] {
                let headers = headers(&[(name, &text), ("stream-forked-from", "/a")]);
                let _ = (lifetime(&headers), producer(&headers).is_ok(), fork(&headers).is_ok(), retention(&headers));
            }
        }
    }
}
