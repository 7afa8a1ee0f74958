//! The headers by which a retry is known: `Producer-Id`, `Producer-Seq` and, for producers that
//! count their lives, `Producer-Epoch`; or a key.

use crate::connection::MAX_PRODUCER_BYTES;
use crate::http::answer::Refusal;
use highwater_engine::FrameId;
use highwater_http::head::text;
use hyper::HeaderMap;
use hyper::header::HeaderName;

/// Headers whose value is a key, unless the program names others.
pub(super) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// What the headers say of the request, if they say anything.
///
/// # Errors
/// 400 if they do not say one thing.
pub(super) fn frame_id<'a>(
    headers: &'a HeaderMap,
    key_headers: &[HeaderName],
) -> Result<Option<FrameId<'a>>, Refusal> {
    let by_number = by_number(headers)?;
    let mut by_key = None;
    for name in key_headers {
        let Some(key) = text(headers, name.as_str())? else {
            continue;
        };
        if !(1..=FrameId::MAX_KEY_BYTES).contains(&key.len()) {
            let (len, most) = (key.len(), FrameId::MAX_KEY_BYTES);
            return Err(Refusal::bad(format!("{name} has {len} bytes: 1 to {most}")));
        }
        if let Some((other, _)) = by_key.replace((name, key)) {
            return Err(Refusal::bad(format!("{other} and {name}: one of them")));
        }
    }
    match (by_number, by_key) {
        (Some(_), Some((name, _))) => {
            Err(Refusal::bad(format!("Producer-Id and {name}: one of them")))
        }
        (by_number, by_key) => {
            Ok(by_number.or(by_key.map(|(_, key)| FrameId::IdempotencyKey(key.as_bytes()))))
        }
    }
}

fn by_number(headers: &HeaderMap) -> Result<Option<FrameId<'_>>, Refusal> {
    let [id, sequence, epoch] =
        ["producer-id", "producer-seq", "producer-epoch"].map(|name| text(headers, name));
    let (id, sequence, epoch) = (id?, sequence?, epoch?);
    let (Some(producer), Some(sequence)) = (id, sequence) else {
        return match (id, sequence, epoch) {
            (None, None, None) => Ok(None),
            _ => Err(Refusal::bad("Producer-Id and Producer-Seq go together")),
        };
    };
    if !(1..=MAX_PRODUCER_BYTES).contains(&producer.len()) {
        let (len, most) = (producer.len(), MAX_PRODUCER_BYTES);
        return Err(Refusal::bad(format!(
            "Producer-Id has {len} bytes: 1 to {most}"
        )));
    }
    let sequence = number("Producer-Seq", sequence)?;
    Ok(Some(match epoch {
        None => FrameId::Sequence { producer, sequence },
        Some(epoch) => FrameId::EpochSequence {
            producer,
            epoch: number("Producer-Epoch", epoch)?,
            sequence,
        },
    }))
}

fn number(name: &str, text: &str) -> Result<u64, Refusal> {
    // `parse` takes a sign too; a number that can be written in two ways causes mistakes.
    let is_plain =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let parsed = text.parse().ok().filter(|_| is_plain);
    parsed.ok_or_else(|| {
        let most = u64::MAX;
        Refusal::bad(format!("{name} is {text:?}: a number from 0 to {most}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(all: &[(&'static str, &str)]) -> Result<Option<String>, String> {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        let headers = all
            .iter()
            .map(pair)
            .fold(HeaderMap::new(), |mut all, (name, value)| {
                all.append(name, value);
                all
            });
        let keys = [KEY_HEADER, HeaderName::from_static("svix-id")];
        let found = frame_id(&headers, &keys).map_err(|refusal| refusal.reason)?;
        Ok(found.map(|id| match id {
            FrameId::Sequence { producer, sequence } => format!("{producer} {sequence}"),
            FrameId::EpochSequence {
                producer,
                epoch,
                sequence,
            } => format!("{producer} {epoch}.{sequence}"),
            FrameId::IdempotencyKey(key) => String::from_utf8(key.to_vec()).unwrap(),
        }))
    }

    #[test]
    fn each_way_to_name_a_request_is_read() {
        assert_eq!(of(&[]), Ok(None));
        for (all, expected) in [
            (&[("producer-id", "a"), ("producer-seq", "0")][..], "a 0"),
            (
                &[
                    ("producer-id", "a"),
                    ("producer-epoch", "7"),
                    ("producer-seq", "18446744073709551615"),
                ],
                "a 7.18446744073709551615",
            ),
            (&[("idempotency-key", "\"k\"")], "\"k\""),
            (&[("svix-id", "msg_1")], "msg_1"),
        ] {
            assert_eq!(of(all), Ok(Some(expected.to_owned())));
        }
    }

    #[test]
    fn what_names_no_request_or_two_is_refused() {
        let long = "k".repeat(256);
        for (all, expected) in [
            (&[("producer-id", "a")][..], "go together"),
            (&[("producer-epoch", "1")], "go together"),
            (&[("producer-id", ""), ("producer-seq", "1")], "has 0 bytes"),
            (&[("producer-id", "a"), ("producer-seq", "+1")], "\"+1\""),
            (&[("producer-id", "a"), ("producer-seq", "01")], "\"01\""),
            (
                &[
                    ("producer-id", "a"),
                    ("producer-seq", "18446744073709551616"),
                ],
                "a number from 0 to 18446744073709551615",
            ),
            (
                &[
                    ("producer-id", "a"),
                    ("producer-id", "b"),
                    ("producer-seq", "1"),
                ],
                "once",
            ),
            (&[("idempotency-key", "")], "has 0 bytes"),
            (&[("idempotency-key", &*long)], "has 256 bytes"),
            (
                &[("idempotency-key", "a"), ("idempotency-key", "a")],
                "once",
            ),
            (&[("idempotency-key", "a"), ("svix-id", "a")], "one of them"),
            (
                &[
                    ("idempotency-key", "a"),
                    ("producer-id", "a"),
                    ("producer-seq", "1"),
                ],
                "one of them",
            ),
        ] {
            let error = of(all).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
