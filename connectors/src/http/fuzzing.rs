//! What the fuzzer feeds: the headers and the body of a request, up to its records.

use crate::http::encoding::Encoding;
use crate::http::format::{Format, OnError};
use crate::http::retry::{KEY_HEADER, frame_id};
use highwater_http::request_body::{Budget, WholeBody};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

const BODY: usize = 64 << 10;
const BUDGET: usize = 160 << 10;

/// Four lines are header values: content type, encoding, producer, key. The rest is the body, and
/// the number of the request.
///
/// # Panics
/// If the records are not what the body says.
#[cfg_attr(
    not(fuzzing),
    expect(unreachable_pub, reason = "the fuzzer calls it from outside")
)]
pub fn body(data: &[u8]) {
    let mut parts = data.splitn(5, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let [content_type, encoding, producer, key] = [part(), part(), part(), part()];
    let sent = part();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (HeaderName::from_static("producer-id"), producer),
        (HeaderName::from_static("producer-seq"), sent),
        (KEY_HEADER, key),
    ] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let _ = frame_id(&headers, &[KEY_HEADER]);
    let said = |header| std::str::from_utf8(header).ok();
    let (Ok(format), Ok(encoding)) = (Format::of(said(content_type)), Encoding::of(said(encoding)))
    else {
        return;
    };
    let budget = Budget::new(BUDGET);
    let mut whole = WholeBody::new(&budget);
    if whole.push(sent, BODY).is_ok()
        && let Ok(body) = encoding.decoded(whole, BODY)
    {
        assert!(body.bytes.len() <= BODY, "longer than a body may be");
        records(format, &body.bytes);
    }
    assert_eq!(budget.left(), BUDGET, "memory is given back");
}

fn records(format: Format, body: &[u8]) {
    let skipped = format.records(body, OnError::Skip);
    let refused = format.records(body, OnError::Refuse);
    match (&skipped, &refused) {
        (Ok(some), Ok(all)) => {
            assert_eq!(some.texts, all.texts, "nothing is left out of a good body");
            assert_eq!(some.skipped.count, 0);
        }
        (Ok(some), Err(_)) => assert!(some.skipped.count > 0, "one of them is wrong"),
        (Err(_), refused) => assert!(refused.is_err(), "a good body can be stored"),
    }
    let Ok(found) = skipped else {
        return;
    };
    let bounds = body.as_ptr_range();
    let mut lines = 0;
    for (index, text) in found.texts.iter().enumerate() {
        let part = text.as_bytes().as_ptr_range();
        assert!(
            bounds.start <= part.start && part.end <= bounds.end,
            "not of the body"
        );
        assert!(!found.place(index).to_string().is_empty());
        if matches!(format, Format::Lines | Format::NdJson) {
            assert!(!text.contains('\n'), "two lines");
            lines += 1;
        }
        if matches!(format, Format::Json | Format::NdJson) {
            let value = serde_json::from_str::<serde::de::IgnoredAny>(text);
            assert!(value.is_ok(), "no JSON: {text:?}");
        }
    }
    if lines > 0 {
        let all = body.iter().filter(|byte| **byte == b'\n').count() + 1;
        assert!(
            lines + found.skipped.count <= all,
            "more lines than there are"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PIECES: [&[u8]; 13] = [
        b"\n",
        b"\r\n",
        b"[1, {\"a\": [2]}]",
        b"{\"a\": 1}",
        b"\"\\ud800\"",
        b"[ ",
        b"]",
        b",",
        b"\xef\xbb\xbf",
        b"\xff",
        b"1",
        b"\x1f\x8b\x08\0",
        b"\x28\xb5\x2f\xfd\x04",
    ];

    fn like_a_request() -> impl Strategy<Value = Vec<u8>> {
        let format = prop_oneof![
            Just("text/plain"),
            Just("application/x-ndjson"),
            Just("application/json"),
            Just("application/octet-stream")
        ];
        let encoding = prop_oneof![4 => Just("identity"), 1 => Just("gzip"), 1 => Just("zstd")];
        let piece = proptest::sample::select(PIECES.to_vec());
        let pieces = proptest::collection::vec(piece, 0..24);
        (format, encoding, pieces).prop_map(|(format, encoding, pieces)| {
            let head = format!("{format}\n{encoding}\np\n\n").into_bytes();
            [head, pieces.concat()].concat()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn bodies_are_what_they_say(data in like_a_request()) {
            body(&data);
        }

        #[test]
        fn any_bytes_are_taken(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            body(&data);
        }
    }
}
